#!/usr/bin/env node
// The part of the native solc command line that forge calls, answered by npm's `solc` (soljson in WebAssembly).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const compiler = createRequire(import.meta.url)("solc");
const options = process.argv.slice(2);

if (options.includes("--version")) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${compiler.version()}\n`);
} else if (options.includes("--standard-json")) {
  process.stdout.write(compiler.compile(readFileSync(0, "utf8")));
} else {
  process.stderr.write(`solc.mjs answers --version and --standard-json only; it was given: ${options.join(" ")}\n`);
  process.exitCode = 1;
}
