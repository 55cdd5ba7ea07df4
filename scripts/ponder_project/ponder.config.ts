// What Duly's indexer is held against: the same events, into the least that tells what a loan has been paid.

import { createConfig } from "ponder";
import { abi } from "./ledger";

export default createConfig({
  chains: { local: { id: Number(process.env.CHAIN_ID), rpc: process.env.RPC, pollingInterval: 1_000 } },
  contracts: {
    Ledger: {
      chain: "local",
      abi,
      address: process.env.LEDGER as `0x${string}`,
      startBlock: Number(process.env.FIRST_BLOCK),
    },
  },
});
