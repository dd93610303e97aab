// A phone as pages for the vendor's library have it: one client, one session that is used again for each call.

var client = null;
var session = null;

function byId(id) { return document.getElementById(id); }
function show(text) { byId("state").value = text; }

function createClient() {
  var configuration = {
    "webrtc_gateway": gateway,
    "stun_server": "",
    "dtls_srtp": true,
    "enable_ipv6": false,
    "sip_username": byId("dn").value,
    "sip_password": byId("password").value,
    "noanswer_timeout": "60000",
    "polling_timeout": "30000",
    "ice_timeout": "1000"
  };
  try {
    client = new Grtc.Client(configuration);
  } catch (error) {
    show(error.name + ": " + error.message);
    return false;
  }
  client.setLogLevel(2);
  session = new Grtc.MediaSession(client);

  client.onRegister.add(function () { show("registered"); return false; });
  client.onFailed.add(function (event) { show("failed: " + event.message); return false; });
  client.onDisconnect.add(function () { show("not registered"); return false; });
  client.onMediaSuccess.add(function () { client.register(); return false; });
  client.onMediaFailure.add(function (event) { show("no microphone: " + event.message); return false; });
  client.onIncomingCall.add(function (event) {
    showData();
    show("call from " + event.peer);
    return false;
  });
  client.onCallEvent.add(function (event) {
    if (event.event === "offer sent" && !session.isEstablished()) show("calling");
    if (event.event === "answer received" || event.event === "answer sent") show("talking");
    return false;
  });
  client.onNotifyEvent.add(function (event) { show(event.event === "hold" ? "held by notify" : "talking"); return false; });
  client.onPeerClosing.add(function () { show("the far end has hung up"); return false; });
  client.onPeerNoanswer.add(function () { show("no answer"); return false; });
  client.onConnectionError.add(function (event) { show("connection error " + event.status); return false; });
  client.onGatewayError.add(function (event) { show("gateway error: " + event.error); return false; });
  client.onWebrtcError.add(function (event) { show("WebRTC error: " + event.error); return false; });
  client.onIceDisconnected.add(function () { session.makeOffer(); return false; });
  session.onRemoteStream.add(function (event) {
    client.setViewFromStream(byId("remoteAudio"), event.stream);
    return false;
  });
  session.onSessionHold.add(function (held) { show(held ? "on hold" : "talking"); return false; });
  return true;
}

function showData() {
  byId("data").value = session.getData().map(function (item) { return item.key + "=" + item.value; }).join("; ");
}

byId("register").onclick = function () {
  if (client) client.disconnect();
  if (!createClient()) return;
  show("opening the microphone");
  var raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  client.enableMediaSource(query.get("audio") === "raw" ? raw : true, false);
};
byId("disconnect").onclick = function () { client.disconnect(); client.disableMediaSource(); };
byId("call").onclick = function () {
  session.setData([{ key: "CustomerId", value: "42" }]);
  session.makeOffer(byId("remoteDN").value, true, false);
};
byId("answer").onclick = function () {
  try {
    session.acceptCall(true, false);
  } catch (error) {
    if (error.name === Grtc.INVALID_STATE_ERROR) show("nothing to answer");
    else throw error;
  }
};
byId("reject").onclick = function () { session.rejectCall(); show("registered"); };
byId("hold").onclick = function () { session.holdCall(); };
byId("resume").onclick = function () { session.resumeCall(); };
byId("hangup").onclick = function () { session.terminateCall(); show("registered"); };
byId("dtmf").onclick = function () {
  if (session.sendDTMF(byId("tones").value) === -1) show("tones cannot be sent");
};
