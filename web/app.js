// What pages need a script for: finding a wallet, signing in with it, and sending what a page prepared.
// Everything else works without; HTMX lets parts of a page come by themselves.

import htmx from "htmx.org";

import { discover, remembered, remember } from "./wallets.js";

const csrf = () => document.querySelector('meta[name="csrf"]')?.content ?? "";

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json", "x-csrf-token": csrf() },
    body: JSON.stringify(body),
  });
  return { ok: answer.ok, ...(await answer.json().catch(() => ({}))) };
}

function say(place, text) {
  place.textContent = text;
  place.hidden = !text;
}

const texts = (root) => root.querySelector("[data-texts]").dataset;
const REJECTED = 4001; // EIP-1193: the person said no

// ---------------------------------------------------------------------------------------- signing in

async function signIn(root, wallet) {
  const problem = root.querySelector("[data-problem]");
  say(problem, "");
  try {
    const [address] = await wallet.provider.request({ method: "eth_requestAccounts" });
    const made = await post("/sign-in/message", { address });
    if (!made.ok) return say(problem, made.error ?? made.detail);
    const signature = await wallet.provider.request({
      method: "personal_sign",
      params: [hex(new TextEncoder().encode(made.message)), address],
    });
    const done = await post("/sign-in", { message: made.message, signature, next: root.dataset.next });
    if (!done.ok) return say(problem, done.error ?? done.detail);
    remember(wallet);
    location.assign(done.next);
  } catch (error) {
    say(problem, error?.code === REJECTED ? texts(root).textRejected : texts(root).textFailed);
  }
}

const hex = (bytes) => "0x" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

async function signInPage(root) {
  const wallets = await discover();
  const shown = wallets.filter((wallet) => !wallet.info.demo);
  const button = root.querySelector("[data-wallet-button]").content.firstElementChild;
  for (const wallet of shown) {
    const made = button.cloneNode(true);
    made.textContent = `${texts(root).textSignIn} ${wallet.info.name}`;
    made.addEventListener("click", () => signIn(root, wallet));
    root.querySelector("[data-wallets]").append(made);
  }
  const demo = wallets.find((wallet) => wallet.info.demo);
  root.querySelector("[data-no-wallet]").hidden = Boolean(shown.length || demo);
  for (const person of root.querySelectorAll("[data-demo]")) {
    person.addEventListener("click", () => {
      demo.provider.become(person.dataset.demo);
      signIn(root, demo);
    });
  }
  root.dataset.ready = "yes";
}

// ---------------------------------------------------------------------------------------- transactions

// The wallet that was signed in with, on its account and chain; where it is not, the root says why.
async function ready(root) {
  const problem = root.querySelector("[data-problem]");
  const told = texts(root);
  const wallet = await remembered();
  if (!wallet) return say(problem, told.textNoWallet);
  const accounts = await wallet.provider.request({ method: "eth_requestAccounts" });
  const from = root.dataset.from.toLowerCase();
  if (!accounts.some((each) => each.toLowerCase() === from)) return say(problem, told.textOtherAccount);
  if (!(await onChain(wallet.provider, Number(root.dataset.chain)))) return say(problem, told.textOtherChain);
  return wallet;
}

// Has the wallet sign what a form is about, and sends the form with the signature.
async function sign(form) {
  const button = form.querySelector("[data-go]");
  const problem = form.querySelector("[data-problem]");
  say(problem, "");
  button.disabled = true;
  try {
    const wallet = await ready(form);
    if (!wallet) return;
    const params = [form.dataset.from, form.dataset.typed];
    form.elements.signature.value = await wallet.provider.request({ method: "eth_signTypedData_v4", params });
    form.submit();
  } catch (error) {
    say(problem, error?.code === REJECTED ? texts(form).textRejected : texts(form).textFailed);
  } finally {
    button.disabled = false;
  }
}

async function act(root) {
  const button = root.querySelector("[data-go]");
  const problem = root.querySelector("[data-problem]");
  const told = texts(root);
  say(problem, "");
  button.disabled = true;
  try {
    const wallet = await ready(root);
    if (!wallet) return;
    const steps = JSON.parse(root.dataset.steps);
    const rows = root.querySelectorAll("[data-step]");
    for (let number = Number(root.dataset.at ?? 0); number < steps.length; number += 1) {
      const state = rows[number].querySelector("[data-state]");
      state.textContent = told.textWaiting;
      try {
        const hash = await wallet.provider.request({ method: "eth_sendTransaction", params: [steps[number]] });
        const stage = await settled(state, hash, number + 1 < steps.length);
        if (stage === "refused") return;
      } catch (error) {
        state.textContent = "";
        throw error;
      }
      root.dataset.at = number + 1;
    }
    button.hidden = true;
    const done = root.querySelector("[data-done]");
    done.hidden = false;
    done.focus();
  } catch (error) {
    if (error?.code === REJECTED) return say(problem, told.textRejected);
    say(problem, (await refusal(error)) || told.textFailed);
  } finally {
    button.disabled = false;
  }
}

async function onChain(provider, wanted) {
  const at = async () => Number(await provider.request({ method: "eth_chainId" }));
  if ((await at()) === wanted) return true;
  const chainId = "0x" + wanted.toString(16);
  await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] }).catch(() => {});
  return (await at()) === wanted;
}

// Shows where a transaction stands, until it is over; until it is in a block where another step follows.
function settled(place, hash, early) {
  return new Promise((resolve) => {
    const look = () => {
      const part = place.querySelector("[data-stage]");
      if (!part) return;
      const { stage, over } = part.dataset;
      if (over === "yes" || (early && ["mined", "final"].includes(stage))) {
        place.removeEventListener("htmx:afterSettle", look);
        resolve(stage);
      }
    };
    place.addEventListener("htmx:afterSettle", look);
    htmx.ajax("GET", `/transactions/${hash}`, { target: place, swap: "innerHTML" });
  });
}

// What a contract said when a wallet tried, in words; wallets wrap it in their own ways.
async function refusal(error) {
  for (let inner = error, depth = 0; inner && depth < 6; depth += 1) {
    const data = typeof inner.data === "string" ? inner.data : inner.data?.data;
    if (typeof data === "string" && /^0x([0-9a-f]{2})+$/i.test(data)) {
      const answer = await fetch("/transactions/refusal", {
        method: "POST",
        headers: { "x-csrf-token": csrf() },
        body: new URLSearchParams({ data }),
      });
      return answer.ok ? (await answer.text()).trim() : "";
    }
    inner = inner.data?.originalError ?? inner.cause ?? inner.error ?? inner.data?.cause;
  }
  return "";
}

// ---------------------------------------------------------------------------------------- pages

function start(root) {
  for (const each of root.querySelectorAll("[data-sign-in]")) signInPage(each);
  for (const each of root.querySelectorAll("[data-act]")) {
    each.querySelector("[data-go]").addEventListener("click", () => act(each));
  }
  for (const each of root.querySelectorAll("form[data-sign]")) {
    each.addEventListener("submit", (event) => {
      event.preventDefault();
      sign(each);
    });
  }
  for (const each of root.querySelectorAll("select[data-zone]")) {
    // A proposal, where nothing was chosen yet; an unknown name leaves the choice empty.
    if (!each.value) each.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (each.selectedIndex < 0) each.value = "";
  }
}

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["x-csrf-token"] = csrf();
});
document.addEventListener("DOMContentLoaded", () => start(document));
