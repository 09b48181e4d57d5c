"""A store that speaks S3 and DynamoDB on loopback: moto's server, asked with the real boto3."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
TABLE = "locks"
_numbers = itertools.count(1)  # moto keeps one world for the whole process, so every store has a bucket of its own


class Store:
    """One bucket, one table of locks. Use as a context manager, with AWS credentials in the environment."""

    def __init__(self) -> None:
        self.bucket = f"states-{next(_numbers)}"
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)

    def __enter__(self) -> Store:
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.s3: Any = boto3.client("s3", region_name=REGION, endpoint_url=self.url)
        self.dynamodb: Any = boto3.client("dynamodb", region_name=REGION, endpoint_url=self.url)
        self.s3.create_bucket(Bucket=self.bucket)
        if TABLE not in self.dynamodb.list_tables()["TableNames"]:
            self.dynamodb.create_table(
                TableName=TABLE,
                KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.s3.close()
        self.dynamodb.close()
        self._server.stop()

    def put(self, key: str, content: str) -> None:
        """Write an object."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content.encode())

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.s3.delete_object(Bucket=self.bucket, Key=key)

    def lock(self, key: str) -> None:
        """Take the lock of a state as Terraform does with `dynamodb_table`."""
        item = {"LockID": {"S": f"{self.bucket}/{key}"}, "Info": {"S": '{"ID":"1"}'}}
        self.dynamodb.put_item(TableName=TABLE, Item=item)

    def object_keys(self) -> list[str]:
        """The keys of all objects."""
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]
