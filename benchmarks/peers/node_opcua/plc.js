// A station's PLC that is not ours: node-opcua's server, and a program after docs/connect-a-station.md in its own words.
//
//   node plc.js '{"port": 4840, "station": "aoi-1", "folder": "pki", "certificate": "...", "privateKey": "...", "trusted": "...",
//                 "user": "...", "password": "...", "cycleMs": 10}'
//
// Without `certificate` it is unencrypted and anonymous. `cycleMs: 0` answers a command as soon as its sequence is written;
// `holdsEveryPart` judges none by its part; `otherNamespaces` moves the index of the station's namespace. `tags: n` adds machine tags
// Tag.0 ... which count how often they were sampled, from `count` to `stop`; `constants: n` adds Constant.0 ... which never change.
// It prints {"listening": true}, then answers each line of its standard input (`QUESTIONS`) with one line; it ends with its input.
"use strict";

const path = require("node:path");
const readline = require("node:readline");
const { readFileSync } = require("node:fs");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { OPCUAServer } = require("node-opcua-server");
const { DataType, Variant, VariantArrayType } = require("node-opcua-variant");

const RING_LENGTH = 512;
const HEARTBEAT_MS = 100;
const [ACCEPTED, UNKNOWN_PART, EXPIRED, WRONG_STATE, INVALID] = [1, 2, 3, 4, 5];
const KINDS = ["verdict", "stop_line"];

// name -> type; `[]`: an array; `w`: the gateway may write it
const VARIABLES = {
  "Heartbeat.Plc": "UInt32", "Heartbeat.Gateway": "UInt32 w", "Session": "String", "Recipe": "String", "NextRecipe": "String",
  "Line.Mode": "String", "Line.Cause": "String",
  "Arrivals.Count": "UInt32", "Arrivals.TriggerCounts": "UInt32[]", "Arrivals.PartIds": "String[]", "Arrivals.Visits": "UInt16[]",
  "Arrivals.Recipes": "String[]", "Arrivals.Batches": "String[]", "Arrivals.TimesNs": "Int64[]",
  "Departures.Count": "UInt32", "Departures.Counts": "UInt32[]", "Departures.PartIds": "String[]", "Departures.Visits": "UInt16[]",
  "Departures.Lanes": "String[]", "Departures.ByFailSafe": "Boolean[]", "Departures.RejectConfirmed": "Boolean[]",
  "Departures.TimesNs": "Int64[]",
  "Handshake.TriggerReady": "Boolean w", "Handshake.ReadyRecipe": "String w", "Handshake.TriggerSeen": "UInt32 w", "Handshake.ErrorCode": "UInt16 w",
  "Handshake.ErrorText": "String w", "Handshake.Reset": "UInt32", "WritesAllowed": "Boolean",
  "Mailbox.CommandId": "String w", "Mailbox.Kind": "String w", "Mailbox.PartId": "String w", "Mailbox.Visit": "UInt16 w",
  "Mailbox.Verdict": "String w", "Mailbox.Action": "String w", "Mailbox.Reason": "String w", "Mailbox.DefectClass": "String w",
  "Mailbox.DefectView": "String w", "Mailbox.DefectXPx": "Double w", "Mailbox.DefectYPx": "Double w",
  "Mailbox.Parameter": "String w", "Mailbox.Value": "Double w",
  "Mailbox.ValidUntilNs": "Int64 w", "Mailbox.Sequence": "UInt32 w",
  "Mailbox.AckSequence": "UInt32", "Mailbox.AckCommandId": "String", "Mailbox.AckResult": "Int16", "Mailbox.AckTimeNs": "Int64",
};

const options = JSON.parse(process.argv[2]);
const variables = {};
const arrivals = [];
const held = new Map(); // part and visit -> whether its verdict was taken
const executed = new Set();

function zero(type) {
  return { String: "", Boolean: false, Int64: [0, 0] }[type] ?? 0;
}

function set(name, value) {
  const [type, isArray] = variables[name].linesight;
  const arrayType = isArray ? VariantArrayType.Array : VariantArrayType.Scalar;
  variables[name].setValueFromSource(new Variant({ dataType: DataType[type], arrayType, value }));
}

function get(name) {
  return variables[name].readValue().value.value;
}

// node-opcua has an Int64 as [high, low], both unsigned
const int64 = (whole) => [Number((whole >> 32n) & 0xffffffffn), Number(whole & 0xffffffffn)];
const fromInt64 = ([high, low]) => BigInt.asIntN(64, (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
const nowNs = () => BigInt(Date.now()) * 1000000n;

function judge() {
  const id = get("Mailbox.CommandId");
  const kind = get("Mailbox.Kind");
  if (executed.has(id)) return ACCEPTED;
  if (!id || !KINDS.includes(kind)) return INVALID;
  if (fromInt64(get("Mailbox.ValidUntilNs")) < nowNs()) return EXPIRED;
  if (kind === "verdict") {
    const part = `${get("Mailbox.PartId")}/${get("Mailbox.Visit")}`;
    if (options.holdsEveryPart !== true) {
      if (!held.has(part)) return UNKNOWN_PART;
      if (held.get(part)) return WRONG_STATE;
    }
    held.set(part, true);
  }
  executed.add(id);
  return ACCEPTED;
}

function scan() {
  const sequence = get("Mailbox.Sequence");
  if (sequence === get("Mailbox.AckSequence")) return;
  set("Mailbox.AckResult", judge());
  set("Mailbox.AckCommandId", get("Mailbox.CommandId"));
  set("Mailbox.AckTimeNs", int64(nowNs()));
  set("Mailbox.AckSequence", sequence);
}

function arrive({ part, recipe, batch }) {
  const count = get("Arrivals.Count") + 1;
  arrivals.push({ count, part, recipe, batch, at: int64(nowNs()) });
  if (arrivals.length > RING_LENGTH) arrivals.shift();
  held.set(`${part}/1`, false);
  set("Recipe", recipe);
  set("Arrivals.TriggerCounts", Uint32Array.from(arrivals, (one) => one.count));
  set("Arrivals.PartIds", arrivals.map((one) => one.part));
  set("Arrivals.Visits", Uint16Array.from(arrivals, () => 1));
  set("Arrivals.Recipes", arrivals.map((one) => one.recipe));
  set("Arrivals.Batches", arrivals.map((one) => one.batch));
  set("Arrivals.TimesNs", arrivals.map((one) => one.at));
  set("Arrivals.Count", count);
  return count;
}

// A tag is 0 until `count` is asked, then 1, 2, 3 ... with each time that the server takes its value, and stays there after `stop`.
const taken = [];
let counting = false;

function addTags(namespace, station) {
  const variable = (name, options) =>
    namespace.addVariable({
      componentOf: station, nodeId: `s=${name}`, browseName: name, dataType: DataType.Double, minimumSamplingInterval: 10, ...options,
    });
  for (let number = 0; number < (options.tags ?? 0); number++) {
    taken.push(0);
    const get = () => new Variant({ dataType: DataType.Double, value: counting ? ++taken[number] : taken[number] });
    variable(`Tag.${number}`, { value: { get } });
  }
  for (let number = 0; number < (options.constants ?? 0); number++)
    variable(`Constant.${number}`, { value: new Variant({ dataType: DataType.Double, value: 7.5 }) });
}

const QUESTIONS = {
  arrive,
  count: () => (counting = true),
  stop: () => { counting = false; return taken; },
  value: ({ name }) => get(name),
  executed: () => [...executed],
  sessions: (_question, server) => server.engine.currentSessionCount,
};

async function security() {
  const registerServerMethod = 1; // RegisterServerMethod.HIDDEN: nobody is told of it
  // stores of its own: the default ones would lie in the user's home
  const stores = { serverCertificateManager: await store("applications"), userCertificateManager: await store("users") };
  if (!options.certificate)
    return { ...stores, registerServerMethod, securityModes: [MessageSecurityMode.None], securityPolicies: [SecurityPolicy.None] };
  await stores.serverCertificateManager.trustCertificate(readFileSync(options.trusted));
  return {
    ...stores,
    registerServerMethod,
    certificateFile: options.certificate,
    privateKeyFile: options.privateKey,
    serverInfo: { applicationUri: options.applicationUri },
    securityModes: [MessageSecurityMode.SignAndEncrypt],
    securityPolicies: [SecurityPolicy.Basic256Sha256],
    allowAnonymous: false,
    userManager: { isValidUser: (user, password) => user === options.user && password === options.password },
  };
}

async function store(name) {
  const manager = new OPCUACertificateManager({ rootFolder: path.join(options.folder, name), automaticallyAcceptUnknownCertificate: false });
  await manager.initialize();
  return manager;
}

function build(server) {
  const space = server.engine.addressSpace;
  if (options.otherNamespaces) space.registerNamespace("urn:of:another:supplier"); // moves the index of ours
  const namespace = space.registerNamespace("urn:linesight:station");
  const station = namespace.addObject({ organizedBy: space.rootFolder.objects, browseName: options.station });
  for (const [name, description] of Object.entries(VARIABLES)) {
    const [, type, array, writable] = /^(\w+)(\[\])?( w)?$/.exec(description);
    variables[name] = namespace.addVariable({
      componentOf: station,
      nodeId: `s=${options.station}.${name}`,
      browseName: name,
      dataType: DataType[type],
      valueRank: array ? 1 : -1,
      accessLevel: writable ? "CurrentRead | CurrentWrite" : "CurrentRead",
      userAccessLevel: writable ? "CurrentRead | CurrentWrite" : "CurrentRead",
      minimumSamplingInterval: 10,
    });
    variables[name].linesight = [type, Boolean(array)];
    set(name, array ? [] : zero(type));
  }
  addTags(namespace, station);
  set("Session", options.session ?? "node-opcua-1");
  set("Line.Mode", "running");
  set("WritesAllowed", true);
}

async function main() {
  const server = new OPCUAServer({ port: options.port, hostname: "127.0.0.1", ...(await security()) });
  await server.initialize();
  build(server);
  if (options.cycleMs) setInterval(scan, options.cycleMs);
  else variables["Mailbox.Sequence"].on("value_changed", () => setImmediate(scan));
  setInterval(() => set("Heartbeat.Plc", (get("Heartbeat.Plc") + 1) % 2 ** 32), HEARTBEAT_MS);
  await server.start();
  process.stdout.write('{"listening": true}\n');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const question = JSON.parse(line);
    process.stdout.write(`${JSON.stringify({ answer: QUESTIONS[question.ask](question, server) })}\n`);
  }
  await server.shutdown(100);
  process.exit(0);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
