// The demo wallet: keys that everyone may know, on a chain where nothing is worth anything. It announces
// itself as any wallet does, and asks nobody before it signs.

import { privateKeyToAccount } from "viem/accounts";

const KEPT = "duly-demo";
let keys;

async function account() {
  keys ??= await (await fetch("/demo/wallets.json", { headers: { accept: "application/json" } })).json();
  const wanted = localStorage.getItem(KEPT)?.toLowerCase();
  const found = keys.find((each) => each.address.toLowerCase() === wanted) ?? keys[0];
  return privateKeyToAccount(found.key);
}

async function ask(method, params = []) {
  const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";
  const answer = await fetch("/rpc", {
    method: "POST",
    headers: { "content-type": "application/json", "x-csrf-token": csrf },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const { result, error } = await answer.json();
  if (error) throw Object.assign(new Error(error.message), { code: error.code, data: error.data });
  return result;
}

async function send(transaction) {
  const signer = await account();
  const [chainId, nonce, estimate, price] = await Promise.all([
    ask("eth_chainId"),
    ask("eth_getTransactionCount", [signer.address, "pending"]),
    ask("eth_estimateGas", [transaction]),
    ask("eth_gasPrice"),
  ]);
  const raw = await signer.signTransaction({
    type: "eip1559",
    chainId: Number(chainId),
    nonce: Number(nonce),
    gas: (BigInt(estimate) * 13n) / 10n,
    maxFeePerGas: BigInt(price) * 2n,
    maxPriorityFeePerGas: 0n,
    to: transaction.to,
    data: transaction.data,
    value: BigInt(transaction.value ?? 0),
  });
  return ask("eth_sendRawTransaction", [raw]);
}

const provider = {
  become: (address) => localStorage.setItem(KEPT, address),
  async request({ method, params = [] }) {
    switch (method) {
      case "eth_requestAccounts":
      case "eth_accounts":
        return [(await account()).address];
      case "personal_sign":
        return (await account()).signMessage({ message: { raw: params[0] } });
      case "eth_signTypedData_v4":
        return (await account()).signTypedData(JSON.parse(params[1]));
      case "eth_sendTransaction":
        return send(params[0]);
      default:
        return ask(method, params);
    }
  },
  on() {},
  removeListener() {},
};

const detail = Object.freeze({
  info: { uuid: crypto.randomUUID?.() ?? "duly-demo", name: "Duly demo", rdns: "org.duly.demo", icon: "", demo: true },
  provider,
});
const announce = () => window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
window.addEventListener("eip6963:requestProvider", announce);
announce();
