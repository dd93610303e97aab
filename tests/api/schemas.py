"""Holds what a running demo says, and what it is told, against api-spec/schemas.

usage: schemas.py BASE-URL PASSWORD TOKEN; signs in as 5001, whose connector's token is TOKEN.
"""

import copy
import json
import os
import pathlib
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import jsonschema_rs

base, password, token = sys.argv[1:]
folder = pathlib.Path(__file__).parents[2] / "api-spec" / "schemas"
checked = 0


def schema(file, definition):
    whole = json.loads((folder / file).read_text())
    jsonschema_rs.meta.validate(whole)
    return jsonschema_rs.Draft202012Validator({**whole, "anyOf": [{"$ref": f"#/$defs/{definition}"}]})


def holds(file, definition, message):
    """It fits, and would not with any member that has to be there missing or of another type."""
    global checked
    validator = schema(file, definition)
    validator.validate(message)
    strict = definition.endswith("Reply") or definition == "fromGateway"
    for member in message if strict else []:
        spoiled = copy.deepcopy(message)
        spoiled[member] = {"not": "this"}
        assert not validator.is_valid(spoiled), f"{definition} takes any {member}"
    checked += 1
    return message


def ask(method, path, body=None, headers=None):
    request = urllib.request.Request(base + path, body and body.encode(), headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as fault:
        return fault.code, fault.read().decode(), fault.headers


# ------------------------------------------------------------------ ROAP

OFFER = "\r\n".join([
    "v=0", "o=- 30547 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
    "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 101", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0", "a=ice-ufrag:D0xq",
    "a=ice-pwd:0123456789abcdef01234567", "a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=setup:actpass",
    "a=mid:0", "a=sendrecv", "a=rtcp-mux", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:101 telephone-event/8000", "",
])
CANDIDATE = {
    "candidate": "candidate:393 1 udp 2122194687 127.0.0.1 47768 typ host generation 0 ufrag D0xq network-id 1",
    "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "D0xq",
}


class Page:
    def __init__(self):
        status, text, _ = ask("POST", "/sign_in", f"5001:{password}")
        assert status == 200, text
        self.ssid = text.split("\n")[0].split("=")[1]
        if folder := os.environ.get("GATEWAYS_WROTE"):
            with open(f"{folder}/{os.getpid()}.secrets", "a", encoding="utf-8") as known:
                known.write(f"an SSID\t{self.ssid}\n")

    def post(self, to, message):
        body = message
        if isinstance(message, dict):
            body = "RSMP " + json.dumps(holds("roap.schema.json", "fromBrowser", message))
        status, text, _ = ask("POST", f"/message?from={self.ssid}&to={urllib.parse.quote(to)}", body)
        assert status == 200, text

    def wait(self, kind):
        """The next ROAP message of that type."""
        end = time.time() + 30
        while time.time() < end:
            status, text, headers = ask("GET", f"/wait?id={self.ssid}&dial=1")
            assert status == 200, text
            if text.startswith("SDP "):
                message = holds("roap.schema.json", "fromGateway", json.loads(text[4:]))
                if message["messageType"] == kind:
                    return message, headers["Pragma"]
            elif text.split(" ")[0] == kind:
                return text, headers["Pragma"]
        raise AssertionError(f"no {kind} came")


def offer(number, sdp=OFFER):
    return {
        "messageType": "OFFER", "sdp": sdp, "Candidates": [CANDIDATE], "offererSessionId": number,
        "answererSessionId": None, "seq": 1, "tiebreaker": 71838771, "attacheddata": [{"key": "CustomerId", "value": "42"}],
    }


def calls(page):
    page.post("600", offer(103))
    answer, _ = page.wait("ANSWER")
    ids = {name: answer[name] for name in ("offererSessionId", "answererSessionId", "seq")}
    page.post("600", {"messageType": "OK", **ids})
    page.post("600", "BYE")
    # An SDP that is none brings an ERROR with the numbers of the OFFER.
    page.post("600", offer(104, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"))
    error, _ = page.wait("ERROR")
    assert error["offererSessionId"] == 104, error
    # 604 calls back.
    page.post("604", offer(105))
    answer, _ = page.wait("ANSWER")
    page.post("604", {"messageType": "OK", **{name: answer[name] for name in ids}})
    page.post("604", "BYE")
    incoming, peer = page.wait("OFFER")
    calling = holds("connector.schema.json", "GetIncomingCallReply", wwe("GET", "GetIncomingCall"))
    assert calling["hasIncomingCall"], calling
    ids = {"offererSessionId": incoming["offererSessionId"], "answererSessionId": 7, "seq": incoming["seq"]}
    sdp = OFFER.replace("a=setup:actpass", "a=setup:active")
    page.post(peer, {"messageType": "ANSWER", "sdp": sdp, "Candidates": [CANDIDATE], **ids})
    page.wait("OK")
    status = wwe("GET", "GetCallStatus")
    assert status["callActive"] and status["registered"], status
    for action in ("Hold", "Retrieve", "HangUp"):
        assert wwe("POST", action)[f"{action}Result"], action
    page.wait("BYE")


# ------------------------------------------------------------------ the connector

def wwe(method, action, body=None):
    if body is not None:
        holds("connector.schema.json", f"{action}Request", body)
    headers = {"Content-Type": "application/json; charset=UTF-8"}
    text = json.dumps(body or {}) if method == "POST" else None
    _, text, headers = ask(method, f"/connector/{token}/{action}", text, headers)
    assert headers["Content-Type"] == "application/json; charset=UTF-8", headers["Content-Type"]
    return holds("connector.schema.json", f"{action}Reply", json.loads(text))


def order():
    wwe("GET", "GetDnSIP")
    wwe("POST", "SetOptions", {"value": {"uri": "https://127.0.0.1:8000", "ping-interval": 2000, "policy.session.auto_answer": "0"}})
    wwe("POST", "SetSIPEndpointParameters", {"value": [{"Key": "SipEndpointTransportProtocol", "Value": "UDP"}]})
    wwe("POST", "RegisterDn", {"addresses": ["host:5060"], "users": ["5001"]})
    assert wwe("GET", "GetIsEndpointActive")["get_IsEndpointActiveResult"]
    assert wwe("GET", "GetDnSIP")["get_DnSIPResult"] == "5001"
    wwe("GET", "GetSIPEndpointParameters")
    wwe("POST", "SetPingPeriod", {"value": 2000})
    wwe("GET", "Ping")
    assert not wwe("POST", "AnswerCall")["AnswerCallResult"]
    assert not wwe("POST", "SendDTMF", {"digits": "1#"})["SendDTMFResult"]
    _, text, _ = ask("POST", f"/connector/{token}/MakeCall", "{}")
    holds("connector.schema.json", "Fault", json.loads(text))
    wwe("GET", "GetIncomingCall")
    wwe("GET", "GetCallStatus")
    wwe("POST", "MakeCall", {"destination": "600"})


page = Page()
calls(page)
order()
page.wait("DIAL")
wwe("POST", "UnregisterDn")
ask("GET", f"/sign_out?id={page.ssid}")
print(f"{checked} messages are as api-spec/schemas has them")
