"""The agent as a service of systemd: what is put on a host, and what is taken away again.

`unit` writes the unit and its drop-in (text from text), `steps` lists what is to be done and whether it is done
already, `host` does it. The unit itself is systemd/proton-tf-agent.service; here it lies by a link, so that the wheel
carries it.

Promises: the same steps whether they are shown or taken; taken twice they change nothing; settings that are there are
never written over; journal and settings go only when that is asked for by name.
"""
