// Calls that somebody beside the page asks for.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AgentPhone } from "../src/gadget/agent_phone";
import { en } from "../src/gadget/words/en";
import { Client } from "../src/grtc/index";
import { install, settle, signedIn, type FakeGateway } from "./fakes";

let gateway: FakeGateway;
beforeEach(() => { gateway = install(); });
afterEach(() => { vi.useRealTimers(); });

const polls = () => gateway.requests.filter(({ url }) => url.includes("/wait"));

test("a page that hears no dial requests does not say that it dials", async () => {
  await signedIn();
  expect(polls()[0]!.url).toBe("http://gw.test/wait?id=abc.DEF-1_2~3");
});

test("a page that does says so with each poll and is told whom to call", async () => {
  const client = new Client({ webrtc_gateway: "http://gw.test" });
  const asked: string[] = [];
  client.onDialRequest.add(({ peer }) => { asked.push(peer); });
  client.register("5001");
  await settle();
  expect(polls()[0]!.url).toBe("http://gw.test/wait?id=abc.DEF-1_2~3&dial=1");
  gateway.say("DIAL +49301003");
  await settle();
  expect(asked).toEqual(["+49301003"]);
  client.disconnect();
});

test("the gadget's phone calls, unless it is in a call", async () => {
  vi.stubGlobal("HTMLMediaElement", class {});
  Object.assign(window, { parent: window });
  const phone = new AgentPhone("http://gw.test", en, { play: () => Promise.resolve() } as never, {}, {
    onChange: () => undefined, onMicrophone: () => undefined, onFarEnd: () => undefined,
  });
  phone.signIn({ dn: "5001", secret: "secret" });
  await settle();
  gateway.say("DIAL 1003");
  await settle();
  expect(phone.model).toMatchObject({ phase: "calling", party: "1003", outgoing: true });
  expect(gateway.roap("OFFER")).toHaveLength(1);
  gateway.say("DIAL 1004");
  await settle();
  expect(phone.model.party).toBe("1003");
  expect(gateway.roap("OFFER")).toHaveLength(1);
});
