"""The artifacts work on a real node."""

from __future__ import annotations

from web3 import HTTPProvider, Web3

from duly.chain import compiler


def test_an_artifact_deploys(anvil):
    web3 = Web3(HTTPProvider(anvil))
    lender, borrower = web3.eth.accounts[:2]
    artifact = compiler.read_artifact("TestDollar")
    factory = web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    receipt = web3.eth.wait_for_transaction_receipt(factory.constructor(6).transact({"from": lender}))
    token = web3.eth.contract(address=receipt["contractAddress"], abi=artifact.abi)
    web3.eth.wait_for_transaction_receipt(token.functions.mint(borrower, 2**255).transact({"from": lender}))
    assert token.functions.decimals().call() == 6
    assert token.functions.balanceOf(borrower).call() == 2**255
