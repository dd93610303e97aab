// The script build: `<script src="grtc.js">` defines `window.Grtc`.
import * as Grtc from "./index";

(globalThis as { Grtc?: unknown }).Grtc = { ...Grtc };
