// The wallets of this browser, as they announce themselves (EIP-6963), and the one that was signed in with.

const KEPT = "duly-wallet";
const PATIENCE = 250;

export async function discover() {
  const found = new Map();
  const hear = (event) => {
    const { info, provider } = event.detail;
    found.set(info.uuid, { info, provider });
  };
  window.addEventListener("eip6963:announceProvider", hear);
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  await new Promise((resolve) => setTimeout(resolve, PATIENCE));
  window.removeEventListener("eip6963:announceProvider", hear);
  if (!found.size && window.ethereum) {
    // Older wallets do not announce themselves.
    found.set("", { info: { name: "Wallet", rdns: "" }, provider: window.ethereum });
  }
  return [...found.values()];
}

export function remember(wallet) {
  localStorage.setItem(KEPT, wallet.info.rdns);
}

export async function remembered() {
  const kept = localStorage.getItem(KEPT);
  const wallets = await discover();
  return wallets.find((wallet) => wallet.info.rdns === kept) ?? (wallets.length === 1 ? wallets[0] : undefined);
}
