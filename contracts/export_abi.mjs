// Writes abi/<Name>.json for every contract and interface under src/ (libraries have no ABI of their own) from the
// artifacts of the last `forge build`, and removes the ABIs of contracts that are gone.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const outDirectory = new URL("./out/", import.meta.url);
const abiDirectory = new URL("./abi/", import.meta.url);

function readArtifacts() {
  return readdirSync(outDirectory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".json") && entry.parentPath.endsWith(".sol"))
    .map((entry) => JSON.parse(readFileSync(`${entry.parentPath}/${entry.name}`, "utf8")));
}

function abisByName(artifacts) {
  const abis = new Map();
  for (const { abi, metadata } of artifacts) {
    const [[source, name]] = Object.entries(metadata.settings.compilationTarget);
    // src/vault/ holds the parts that Vault is made of: its ABI has theirs.
    const isOurs = source.startsWith("src/") && !/^src\/(libraries|vault)\//.test(source);
    // forge leaves the artifact of a deleted source behind.
    if (isOurs && existsSync(new URL(source, import.meta.url))) abis.set(name, abi);
  }
  return abis;
}

const abis = abisByName(readArtifacts());
if (abis.size === 0) throw new Error("out/ holds no contract of src/: run `npm run build` first");
rmSync(abiDirectory, { recursive: true, force: true });
mkdirSync(abiDirectory);
for (const [name, abi] of abis) writeFileSync(new URL(`${name}.json`, abiDirectory), `${JSON.stringify(abi, null, 2)}\n`);
process.stdout.write(`abi/: ${[...abis.keys()].sort().join(", ")}\n`);
