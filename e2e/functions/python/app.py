"""The function that the conformance tests run in each language, on AWS's Python client."""

import base64
import os
import sys
import time


def text(encoded):
    return base64.b64decode(encoded).decode()


def answer(event, context):
    headers = {
        "function": context.function_name,
        "request": context.aws_request_id,
        "remaining": str(context.get_remaining_time_in_millis()),
        "process": str(os.getpid()),
    }
    time.sleep(int(os.environ.get("SLEEP_MS", "0")) / 1000)
    records = []
    for record in (record for partition in event["records"].values() for record in partition):
        value = text(record["value"])
        if "poison" in value:
            raise ValueError(f"the function does not like `{value}`")
        if "sleep" in value:
            time.sleep(600)
        if "exit" in value:
            sys.exit(7)
        if "large" in value:
            value = "x" * (7 << 20)
        if "shape" in value:
            return {"record": []}
        records.append({"key": text(record["key"]), "value": value, "headers": headers})
    print("answering", len(records), "records")
    return {"records": records}
