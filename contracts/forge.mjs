// Runs the forge binary of this platform's npm package and ends as it ended. The launcher package @foundry-rs/forge
// is not used: its 1.7.1 ends with 0 whatever happened, which would let a failed build or test pass.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const architecture = process.arch === "x64" ? "amd64" : process.arch;
const executable = process.platform === "win32" ? "forge.exe" : "forge";
const forge = fileURLToPath(
  new URL(`./node_modules/@foundry-rs/forge-${process.platform}-${architecture}/bin/${executable}`, import.meta.url),
);
if (!existsSync(forge)) {
  process.stderr.write(`forge is missing at ${forge}: run \`npm ci\` in contracts/\n`);
  process.stderr.write("platforms other than linux-amd64 first need their @foundry-rs packages in contracts/package.json\n");
  process.exit(1);
}
const { status, error } = spawnSync(forge, process.argv.slice(2), { stdio: "inherit" });
if (error) throw error;
process.exitCode = status ?? 1;
