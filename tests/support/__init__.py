"""What tests of several rooms share: Terraform itself, a running agent, recorded runs and their re-enactment."""
