// The control of test cells on node-opcua's server, as a PLC programmer writes it from docs/connect-a-station.md: inputs, function blocks,
// outputs, once per scan. Nothing of it is shared with Linesight's simulation: its own names, registers of a fixed length, its own order.
//
//   node cell.js '{"port": 4840, "cells": ["cell-1", "cell-2"], "folder": "pki"}'
//
// It prints {"listening": true} and answers each line of its standard input (ORDERS, below) with one line: what a test does at the machine
// (parts, light barriers, the operator's panel) and what it sees there. It ends with its input.
"use strict";

const path = require("node:path");
const readline = require("node:readline");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { NodeId, NodeIdType } = require("node-opcua-nodeid");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { OPCUAServer } = require("node-opcua-server");
const { DataType, Variant, VariantArrayType } = require("node-opcua-variant");

const SCAN_MS = 10;
const LIFE_EVERY_SCANS = 20;
const SLOTS = 16; // of both registers
const VISION_DEAD_MS = 1500; // its life sign is due every 200 ms here

// The data block of a cell. A trailing ~ : the vision system writes it; [n] : a register of n.
const DB = {
  "Life.Plc": "UInt32", "Life.Vision": "UInt32~", "Run": "String", "Mode": "String", "Reason": "String",
  "Product": "String", "Coming": "String", "Enable": "Boolean", "Quit": "UInt32",
  "In.Nr": "UInt32[n]", "In.Serial": "String[n]", "In.Pass": "UInt16[n]", "In.Product": "String[n]", "In.Lot": "String[n]",
  "In.Clock": "Int64[n]", "In.Last": "UInt32",
  "Out.Nr": "UInt32[n]", "Out.Serial": "String[n]", "Out.Pass": "UInt16[n]", "Out.Lane": "String[n]", "Out.Safe": "Boolean[n]",
  "Out.Checked": "Boolean[n]", "Out.Clock": "Int64[n]", "Out.Last": "UInt32",
  "Vision.Ready": "Boolean~", "Vision.Product": "String~", "Vision.Seen": "UInt32~", "Vision.Fault": "UInt16~", "Vision.Text": "String~",
  "Order.Id": "String~", "Order.Kind": "String~", "Order.Serial": "String~", "Order.Pass": "UInt16~", "Order.Result": "String~",
  "Order.Do": "String~", "Order.Why": "String~", "Order.Class": "String~", "Order.View": "String~", "Order.X": "Double~",
  "Order.Y": "Double~", "Order.What": "String~", "Order.Value": "Double~", "Order.Until": "Int64~", "Order.Nr": "UInt32~",
  "Answer.Nr": "UInt32", "Answer.Id": "String", "Answer.Code": "Int16", "Answer.Clock": "Int64",
  "Drive.Speed": "Double", "Lamp.Level": "Double",
};
const NOTHING = { String: "", Boolean: false, Int64: 0n };
const WORDS = { UInt32: Uint32Array, UInt16: Uint16Array }; // node-opcua's arrays of them
const ANSWER = { ok: 1, unknownPart: 2, tooLate: 3, wrongState: 4, nonsense: 5 };

const highLow = (whole) => [Number((whole >> 32n) & 0xffffffffn), Number(whole & 0xffffffffn)]; // node-opcua's Int64
const whole = ([high, low]) => BigInt.asIntN(64, (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));

class DataBlock {
  constructor(namespace, object, cell) {
    this.namespace = namespace;
    this.object = object;
    this.cell = cell;
    this.nodes = {};
    for (const name of Object.keys(DB)) this.put(name);
  }

  // Declares a variable, as its type or another one, with nothing in it.
  put(name, type = /^\w+/.exec(DB[name])[0]) {
    const register = DB[name].includes("[n]");
    const access = `CurrentRead${DB[name].endsWith("~") ? " | CurrentWrite" : ""}`;
    const node = this.namespace.addVariable({
      componentOf: this.object,
      nodeId: new NodeId(NodeIdType.STRING, `"DB_${this.cell}".${name}`, this.namespace.index),
      browseName: name,
      dataType: DataType[type],
      valueRank: register ? 1 : -1,
      accessLevel: access,
      userAccessLevel: access,
      minimumSamplingInterval: SCAN_MS,
    });
    this.nodes[name] = { node, type, register };
    this.set(name, register ? new Array(SLOTS).fill(NOTHING[type] ?? 0) : NOTHING[type] ?? 0);
  }

  take(name) {
    this.namespace.deleteNode(this.nodes[name].node);
    delete this.nodes[name];
  }

  set(name, value) {
    const { node, type, register } = this.nodes[name];
    const raw = (one) => (type === "Int64" ? highLow(one) : one);
    node.setValueFromSource(
      new Variant({
        dataType: DataType[type],
        arrayType: register ? VariantArrayType.Array : VariantArrayType.Scalar,
        value: register ? (WORDS[type] ?? Array).from(value, raw) : raw(value),
      })
    );
  }

  get(name) {
    const { node, type, register } = this.nodes[name];
    const value = node.readValue().value.value;
    if (register) return Array.from(value, (one) => (type === "Int64" ? whole(one) : one));
    return type === "Int64" ? whole(value) : value;
  }

  // Shifts a register by one: the newest is last.
  push(name, value) {
    this.set(name, [...this.get(name).slice(1), value]);
  }
}

class Cell {
  constructor(name, block) {
    this.name = name;
    this.block = block;
    this.waiting = []; // parts before the stopper, that wait for TriggerReady
    this.inside = []; // parts between light barrier and gate, in their order
    this.atGate = []; // serials that reached the gate
    this.carriedOut = new Map(); // order ids
    this.scans = 0;
    this.vision = { life: null, changedAt: 0 };
    this.hand = false; // the mailbox's block is not called: the cell is in hand mode
    this.gateStuck = false;
    this.clockAheadMs = 0;
    block.set("Run", `${name}/start 1`);
    block.set("Mode", "running");
    block.set("Product", "board@1");
    block.set("Enable", true);
    block.set("Drive.Speed", 30);
  }

  clock() {
    return BigInt(Date.now() + this.clockAheadMs) * 1000000n;
  }

  scan() {
    this.lifeSigns();
    this.stopper();
    if (!this.hand) this.orders();
    this.gate();
  }

  lifeSigns() {
    if (this.scans++ % LIFE_EVERY_SCANS === 0) this.block.set("Life.Plc", (this.block.get("Life.Plc") + 1) % 2 ** 32);
    const life = this.block.get("Life.Vision");
    if (life !== this.vision.life) this.vision = { life, changedAt: Date.now() };
  }

  mayFeed() {
    const alive = this.vision.life > 0 && Date.now() - this.vision.changedAt < VISION_DEAD_MS;
    const ready = this.block.get("Vision.Ready") && this.block.get("Vision.Product") === this.block.get("Product");
    return alive && ready && this.block.get("Mode") === "running";
  }

  stopper() {
    if (this.waiting.length && this.mayFeed()) this.enter(this.waiting.shift());
  }

  enter({ serial, pass, lot }) {
    const number = this.block.get("In.Last") + 1;
    const name = serial || `${this.name}:${this.block.get("Run")}:${number}`;
    this.inside.push({ serial, name, pass, decision: null });
    this.block.push("In.Nr", number);
    this.block.push("In.Serial", serial);
    this.block.push("In.Pass", pass);
    this.block.push("In.Product", this.block.get("Product"));
    this.block.push("In.Lot", lot);
    this.block.push("In.Clock", this.clock());
    this.block.set("In.Last", number);
  }

  orders() {
    const number = this.block.get("Order.Nr");
    if (number === this.block.get("Answer.Nr")) return;
    const id = this.block.get("Order.Id");
    const code = this.carriedOut.has(id) ? ANSWER.ok : this.carryOut(id);
    if (code === ANSWER.ok) this.carriedOut.set(id, number);
    this.block.set("Answer.Id", id);
    this.block.set("Answer.Code", code);
    this.block.set("Answer.Clock", this.clock());
    this.block.set("Answer.Nr", number);
  }

  carryOut(id) {
    const kinds = { verdict: this.verdict, reject: this.reject, stop_line: this.stop, speed: this.speed, parameter: this.parameter };
    const kind = kinds[this.block.get("Order.Kind")];
    if (!id || !kind) return ANSWER.nonsense;
    if (this.block.get("Order.Until") < this.clock()) return ANSWER.tooLate;
    return kind.call(this);
  }

  held() {
    const [name, pass] = [this.block.get("Order.Serial"), this.block.get("Order.Pass")];
    return this.inside.find((part) => part.name === name && part.pass === pass);
  }

  verdict() {
    const part = this.held();
    if (!part) return ANSWER.unknownPart;
    if (part.decision) return ANSWER.wrongState;
    part.decision = this.block.get("Order.Do");
    return ANSWER.ok;
  }

  reject() {
    const part = this.held();
    if (!part) return ANSWER.unknownPart;
    part.decision = "reject";
    return ANSWER.ok;
  }

  stop() {
    this.block.set("Reason", this.block.get("Order.Why"));
    this.block.set("Mode", "stopped");
    return ANSWER.ok;
  }

  speed() {
    this.block.set("Drive.Speed", this.block.get("Order.Value"));
    return ANSWER.ok;
  }

  parameter() {
    if (this.block.get("Order.What") !== "lamp") return ANSWER.nonsense;
    this.block.set("Lamp.Level", this.block.get("Order.Value"));
    return ANSWER.ok;
  }

  // A part passes: by its decision, or by the fail-safe. What is written is what end position switch and lane sensors see.
  gate() {
    const name = this.atGate.shift();
    const place = this.inside.findIndex((part) => part.name === name);
    if (place < 0) return;
    const [part] = this.inside.splice(place, 1);
    const wanted = part.decision === "pass" ? "good" : "reject";
    const seen = this.gateStuck ? "good" : wanted;
    const number = this.block.get("Out.Last") + 1;
    this.block.push("Out.Nr", number);
    this.block.push("Out.Serial", part.name);
    this.block.push("Out.Pass", part.pass);
    this.block.push("Out.Lane", seen);
    this.block.push("Out.Safe", part.decision === null);
    this.block.push("Out.Checked", wanted === "reject" && seen === "reject");
    this.block.push("Out.Clock", this.clock());
    this.block.set("Out.Last", number);
  }
}

const ORDERS = {
  // at the machine
  bring: (cell, { serial = "", pass = 1, lot = "lot-7" }) => cell.waiting.push({ serial, pass, lot }), // waits at the stopper
  push: (cell, { serials, pass = 1, lot = "lot-7" }) => serials.forEach((serial) => cell.enter({ serial, pass, lot })), // a belt that cannot wait
  arriveAtGate: (cell, { name }) => cell.atGate.push(name),
  sticks: (cell, { stuck }) => (cell.gateStuck = stuck),
  hand: (cell, { on }) => (cell.hand = on),
  clock: (cell, { aheadMs }) => (cell.clockAheadMs = aheadMs),
  // at the panel, and in the engineering tool
  panel: (cell, values) => Object.entries(values.set).forEach(([name, value]) => cell.block.set(name, value)),
  take: (cell, { name }) => cell.block.take(name),
  put: (cell, { name, type }) => cell.block.put(name, type),
  // what can be seen
  shows: (cell, { names }) => names.map((name) => cell.block.get(name)).map((value) => (typeof value === "bigint" ? value.toString() : value)),
  outside: (cell) => cell.waiting.length,
  carriedOut: (cell) => [...cell.carriedOut.keys()],
};

async function main() {
  const { port, cells: names, folder } = JSON.parse(process.argv[2]);
  const store = async (name) => {
    const manager = new OPCUACertificateManager({ rootFolder: path.join(folder, name), automaticallyAcceptUnknownCertificate: false });
    await manager.initialize();
    return manager;
  };
  const server = new OPCUAServer({
    port,
    hostname: "127.0.0.1",
    serverCertificateManager: await store("applications"),
    userCertificateManager: await store("users"),
    registerServerMethod: 1, // hidden: nobody is told of it
    securityModes: [MessageSecurityMode.None],
    securityPolicies: [SecurityPolicy.None],
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  space.registerNamespace("urn:supplier:functions");
  const namespace = space.registerNamespace("urn:works:cells");
  const cells = {};
  for (const name of names) {
    const object = namespace.addObject({ organizedBy: space.rootFolder.objects, browseName: `DB_${name}` });
    cells[name] = new Cell(name, new DataBlock(namespace, object, name));
  }
  const faults = new Set();
  setInterval(() => {
    for (const cell of Object.values(cells)) {
      try {
        cell.scan();
      } catch (error) { // a block of this cell that reads what was taken from it: the others are scanned on
        if (!faults.has(error.message)) process.stderr.write(`${cell.name}: ${error.message}\n`);
        faults.add(error.message);
      }
    }
  }, SCAN_MS);
  await server.start();
  process.stdout.write('{"listening": true}\n');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { ask, cell, ...arguments_ } = JSON.parse(line);
    const answer = ask === "sessions" ? server.engine.currentSessionCount : ORDERS[ask](cells[cell], arguments_);
    process.stdout.write(`${JSON.stringify({ answer: answer ?? null })}\n`);
  }
  await server.shutdown(100);
  process.exit(0);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
