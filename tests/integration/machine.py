"""The real contracts in an EVM inside this process, whose clock and storage a test may set as it likes."""

import json
import re
from collections.abc import Callable
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak
from pyrevm import EVM, BlockEnv

from duly.chain.compiler import ARTIFACTS

Struct = dict[str, int | str]

_ANYBODY = "0x" + "99" * 20
_REVERT = re.compile(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}")


class Reverted(Exception):
    """A call that reverted with a custom error: its name, then its arguments."""


def word(value: int | str | bytes) -> bytes:
    """A key or value as the 32 bytes that Solidity hashes."""
    if isinstance(value, bytes):
        return value.rjust(32, b"\0") if len(value) < 32 else value
    return (int(value, 16) if isinstance(value, str) else value % 2**256).to_bytes(32, "big")


class Machine:
    """An EVM."""

    def __init__(self) -> None:
        self.evm = EVM()
        self.now = 0
        self.errors: dict[bytes, tuple[str, list[str]]] = {}

    def set_time(self, timestamp: int) -> None:
        """Let the next calls happen in a block of this timestamp."""
        if timestamp != self.now:
            self.now = timestamp
            self.evm.set_block_env(BlockEnv(number=1, timestamp=timestamp))

    def deploy(self, name: str, deployer: str, *arguments: Any) -> "Contract":
        """A contract of the committed artifacts."""
        artifact = _artifact(name)
        types = next((_types(e["inputs"]) for e in artifact["abi"] if e["type"] == "constructor"), [])
        code = bytes.fromhex(artifact["bytecode"].removeprefix("0x")) + encode(types, arguments)
        return self.at(name, self.evm.deploy(deployer, code).lower())

    def at(self, name: str, address: str) -> "Contract":
        """A contract of the committed artifacts that is deployed already."""
        artifact = _artifact(name)
        for entry in artifact["abi"]:
            if entry["type"] == "error":
                inputs = _types(entry["inputs"])
                selector = keccak(text=f"{entry['name']}({','.join(inputs)})")[:4]
                self.errors[selector] = (entry["name"], inputs)
        return Contract(self, address, artifact)


class Contract:
    """A deployed contract."""

    def __init__(self, machine: Machine, address: str, artifact: dict[str, Any]) -> None:
        self.machine, self.address = machine, address
        self._layout = artifact.get("storageLayout", {})
        self._functions = {}
        for entry in artifact["abi"]:
            if entry["type"] == "function":
                inputs, outputs = _types(entry["inputs"]), _types(entry["outputs"])
                selector = keccak(text=f"{entry['name']}({','.join(inputs)})")[:4]
                static = entry["stateMutability"] in ("view", "pure")
                self._functions[entry["name"]] = (selector, inputs, outputs, static)

    def call(self, name: str, *arguments: Any, sender: str = _ANYBODY) -> Any:
        """What a function returns; a transaction where it is not a view.

        Raises: Reverted.
        """
        selector, inputs, outputs, static = self._functions[name]
        try:
            data = self.machine.evm.message_call(
                sender, self.address, selector + encode(inputs, arguments), is_static=static
            )
        except RuntimeError as error:
            found = _REVERT.search(str(error))
            output = bytes.fromhex(found[1]) if found else b""
            if output[:4] not in self.machine.errors:
                raise
            error_name, types = self.machine.errors[output[:4]]
            raise Reverted(error_name, *decode(types, output[4:])) from None
        values = decode(outputs, data)
        return values[0] if len(values) == 1 else values

    def question(self, name: str, *arguments: Any) -> Callable[[], tuple[int, ...]]:
        """Asks a view, as often as wanted: the words of its answer, as numbers. Encoded once and hardly
        decoded, for when there is much to ask.
        """
        selector, inputs, _, _ = self._functions[name]
        data, evm, to = selector + encode(inputs, arguments), self.machine.evm, self.address

        def ask() -> tuple[int, ...]:
            answer = evm.message_call(_ANYBODY, to, data, is_static=True)
            return tuple(int.from_bytes(answer[at : at + 32], "big") for at in range(0, len(answer), 32))

        return ask

    def slot_of(self, variable: str, *keys: int | str | bytes) -> int:
        """The slot of a variable, of a mapping's entry where keys are given."""
        entry = next(e for e in self._layout["storage"] if e["label"] == variable)
        slot = int(entry["slot"])
        for key in keys:
            slot = int.from_bytes(keccak(word(key) + word(slot)), "big")
        return slot

    def write(self, slot: int, value: int | str) -> None:
        """Put a word into storage."""
        self.machine.evm.insert_account_storage(self.address, slot, int.from_bytes(word(value), "big"))

    def read(self, slot: int) -> int:
        """A word of storage."""
        return self.machine.evm.storage(self.address, slot)

    def write_members(self, slot: int, struct: str, values: Struct) -> None:
        """Put members of a struct that starts at a slot into storage; the others stay."""
        definition = self._layout["types"][f"t_struct({struct})_storage"]
        words: dict[int, int] = {}
        members = {member["label"]: member for member in definition["members"]}
        for name, value in values.items():
            member = members[name]
            at = slot + int(member["slot"])
            bits = 8 * int(self._layout["types"][member["type"]]["numberOfBytes"])
            shift = 8 * member["offset"]
            number = int(value, 16) if isinstance(value, str) else value
            assert -(2 ** (bits - 1)) <= number < 2**bits, (struct, name, value)
            current = words.get(at, self.read(at))
            mask = (2**bits - 1) << shift
            words[at] = current & ~mask | (number % 2**bits) << shift
        for at, value in words.items():
            self.write(at, value)


def _artifact(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ARTIFACTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _types(inputs: list[dict[str, Any]]) -> list[str]:
    return [collapse_if_tuple(entry) for entry in inputs]
