// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {DvpEscrow} from "../../src/DvpEscrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {DvpTerms} from "../../src/interfaces/IEscrowFactory.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {Test} from "../Test.sol";

/// @notice Anyone tries anything on several trades, with tokens of 6, 8 and 18 decimals, while time passes.
contract DvpHandler is Test {
    uint256 private constant MAX_TRADES = 3;

    EscrowFactory public immutable factory;
    DvpEscrow[] public trades;
    address[3] private _callers;
    MockERC20[3] private _tokens;

    constructor(EscrowFactory factory_) {
        factory = factory_;
        _callers = [actor("seller"), actor("buyer"), actor("stranger")];
        _tokens = [
            new MockERC20("Six", "SIX", 6),
            new MockERC20("Eight", "EIGHT", 8),
            new MockERC20("Eighteen", "EIGHTEEN", 18)
        ];
    }

    function tradeCount() external view returns (uint256) {
        return trades.length;
    }

    function create(uint256 deliveryAmount, uint256 paymentAmount, uint256 durationS, bool bySeller)
        external
    {
        if (trades.length == MAX_TRADES) return;
        DvpTerms memory terms = DvpTerms({
            seller: _callers[0],
            buyer: _callers[1],
            deliveryAsset: address(_tokens[trades.length]),
            deliveryAmount: bound(deliveryAmount, 1, type(uint128).max),
            paymentAsset: address(_tokens[(trades.length + 1) % 3]),
            paymentAmount: bound(paymentAmount, 1, type(uint128).max),
            deadline: uint64(block.timestamp + bound(durationS, 1, 2 days))
        });
        address predicted = factory.predictDvp(terms, bytes32(trades.length));
        MockERC20(terms.deliveryAsset).mint(terms.seller, terms.deliveryAmount);
        MockERC20(terms.paymentAsset).mint(terms.buyer, terms.paymentAmount);
        (address first, address second) = bySeller ? (terms.seller, terms.buyer) : (terms.buyer, terms.seller);
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(first);
            _tokens[i].approve(address(factory), type(uint256).max);
            vm.prank(second);
            _tokens[i].approve(predicted, type(uint256).max);
        }
        vm.prank(first);
        trades.push(DvpEscrow(factory.createDvp(terms, bytes32(trades.length))));
    }

    function deposit(uint256 tradeSeed, uint256 callerSeed) external {
        _attempt(tradeSeed, callerSeed, abi.encodeCall(DvpEscrow.deposit, ()));
    }

    function refund(uint256 tradeSeed, uint256 callerSeed) external {
        _attempt(tradeSeed, callerSeed, abi.encodeCall(DvpEscrow.refund, ()));
    }

    function withdraw(uint256 tradeSeed, uint256 callerSeed) external {
        _attempt(tradeSeed, callerSeed, abi.encodeCall(DvpEscrow.withdraw, (_callers[callerSeed % 3])));
    }

    function passTime(uint256 durationS) external {
        vm.warp(block.timestamp + bound(durationS, 1 hours, 12 hours));
    }

    /// @dev A refusal is a valid outcome: what counts is that whatever succeeds keeps the invariants.
    function _attempt(uint256 tradeSeed, uint256 callerSeed, bytes memory action) private {
        if (trades.length == 0) return;
        vm.prank(_callers[callerSeed % 3]);
        (bool done,) = address(trades[tradeSeed % trades.length]).call(action);
        done;
    }
}
