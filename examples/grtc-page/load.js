// Loads grtc.js from the gateway that the URL names. A page on the gateway's own address has a plain script tag instead.
var query = new URLSearchParams(location.search);
var gateway = query.get("gateway") || "http://127.0.0.1:8086";
document.write('<script src="' + new URL(gateway).href.replace(/\/$/, "") + '/grtc.js"><\/script>');
