"""Schemathesis: half of the requests are about somebody who is signed in, and no poll hangs."""

import os
import zlib

import schemathesis

PASSWORD = os.environ["API_PASSWORD"]
TOKEN = os.environ["API_TOKEN"]
ID, DN = "agent123", "5001"


def known(case) -> bool:
    """By what is in it, so that a failure can be played again."""
    return zlib.crc32(repr((case.query, case.body, case.path_parameters)).encode()) % 2 == 0


@schemathesis.hook
def before_call(context, case, kwargs):
    query = case.query if isinstance(case.query, dict) else None
    label = case.operation.label
    if query is not None and known(case):
        for name in ("id", "from"):
            if name in query and label not in ("GET /wait", "POST /message"):
                query[name] = ID
        if "password" in query:
            query.update(dn=DN, password=PASSWORD)
    if isinstance(case.body, dict) and "password" in case.body and known(case):
        case.body.update(id=ID, dn=DN, password=PASSWORD)
    if case.path_parameters and "token" in case.path_parameters and known(case):
        case.path_parameters["token"] = TOKEN
    if label == "GET /api/webrtc/message" and query is not None and str(query.get("wait", 0)).isdigit():
        query["wait"] = 0
