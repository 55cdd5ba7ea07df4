"""A node of another make than Anvil: EthereumJS, an execution client in JavaScript.

It mines nothing by itself. Like any node since the merge it is told by a consensus client, through the
engine's interface, which block comes next; here a thread tells it, as long as the node runs.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import time
from typing import Any

import httpx
from eth_account import Account

from duly.chain import networks
from scripts.anvil import free_port, wait_for_port

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "node_modules/@ethereumjs/client/dist/esm/bin/cli.js"
CHAIN_ID = 9999
_FORKS = (
    "homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul",
    "berlin", "london", "mergeForkId",
)  # fmt: skip
_NOTHING = "0x" + 64 * "0"
_EVERY = 0.2
# EIP-4788's contract, which every block since Cancun calls.
_BEACON_ROOTS = "0x000f3df6d732807ef1319fb7b8bb8522d0beac02"
_BEACON_CODE = (
    "0x3373fffffffffffffffffffffffffffffffffffffffe14604d57602036146024575f5ffd5b5f35801560495762001fff810690"
    "815414603c575f5ffd5b62001fff01545f5260205ff35b5f5ffd5b62001fff42064281555f359062001fff015500"
)


class EthereumJs:
    """A fresh chain that is not local, on which the development accounts hold coins all the same."""

    def __init__(self) -> None:
        self.url = self._engine = ""
        self._folder = TemporaryDirectory(prefix="ethereumjs-")
        self._ended = Event()

    def start(self) -> EthereumJs:
        assert CLIENT.exists(), "EthereumJS is not installed: run `make setup`"
        folder = Path(self._folder.name)
        (folder / "genesis.json").write_text(json.dumps(_genesis()))
        rpc, engine, peers = free_port(), free_port(), free_port()
        self.url, self._engine = f"http://127.0.0.1:{rpc}", f"http://127.0.0.1:{engine}"
        options = {
            "gethGenesis": "genesis.json", "dataDir": "data",
            "rpc": "true", "rpcAddr": "127.0.0.1", "rpcPort": rpc, "rpcEngine": "true",
            "rpcEngineAddr": "127.0.0.1", "rpcEnginePort": engine, "rpcEngineAuth": "false",
            "sync": "none", "isSingleNode": "true", "port": peers, "discDns": "false", "discV4": "false",
            "logFile": "false", "logLevel": "error", "saveReceipts": "true",
        }  # fmt: skip
        command = ["node", str(CLIENT), *(f"--{name}={value}" for name, value in options.items())]
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in (rpc, engine):
            wait_for_port(port, self._process, "EthereumJS")
        self._thread = Thread(target=self._mine, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(timeout=10)
        self._process.terminate()
        self._process.wait(timeout=10)
        self._folder.cleanup()

    def _mine(self) -> None:
        with httpx.Client(timeout=30) as client:

            def ask(url: str, method: str, *params: Any) -> Any:
                question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                return client.post(url, json=question).json()["result"]

            while not self._ended.wait(_EVERY):
                head = ask(self.url, "eth_getBlockByNumber", "latest", False)
                now = max(int(time()), int(head["timestamp"], 16) + 1)
                wanted = {
                    "timestamp": hex(now), "prevRandao": _NOTHING, "suggestedFeeRecipient": "0x" + 40 * "0",
                    "withdrawals": [], "parentBeaconBlockRoot": _NOTHING,
                }  # fmt: skip
                begun = ask(self._engine, "engine_forkchoiceUpdatedV3", _choice(head["hash"]), wanted)
                made = ask(self._engine, "engine_getPayloadV3", begun["payloadId"])["executionPayload"]
                ask(self._engine, "engine_newPayloadV3", made, [], _NOTHING)
                ask(self._engine, "engine_forkchoiceUpdatedV3", _choice(made["blockHash"]), None)


def _choice(head: str) -> dict[str, str]:
    return {"headBlockHash": head, "safeBlockHash": head, "finalizedBlockHash": head}


def _genesis() -> dict[str, Any]:
    Account.enable_unaudited_hdwallet_features()
    accounts = [
        Account.from_mnemonic(networks._DEVELOPMENT_PHRASE, account_path=f"m/44'/60'/0'/0/{number}")
        for number in range(3)
    ]
    config: dict[str, Any] = {f"{name}Block": 0 for name in _FORKS}
    config |= {"chainId": CHAIN_ID, "shanghaiTime": 0, "cancunTime": 0}
    config |= {"terminalTotalDifficulty": 0, "terminalTotalDifficultyPassed": True}
    config["blobSchedule"] = {"cancun": {"target": 3, "max": 6, "baseFeeUpdateFraction": 3338477}}
    return {
        "config": config,
        "nonce": "0x0", "timestamp": "0x65000000", "extraData": "0x", "gasLimit": hex(30_000_000),
        "difficulty": "0x0", "mixHash": _NOTHING, "coinbase": "0x" + 40 * "0", "baseFeePerGas": hex(10**9),
        "alloc": {account.address: {"balance": hex(10**21)} for account in accounts}
        | {_BEACON_ROOTS: {"balance": "0x0", "nonce": "0x1", "code": _BEACON_CODE}},
    }  # fmt: skip
