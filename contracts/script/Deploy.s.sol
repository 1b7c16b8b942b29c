// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";

import {EscrowFactory} from "../src/EscrowFactory.sol";
import {PriceOracle} from "../src/PriceOracle.sol";
import {Vault} from "../src/Vault.sol";
import {AggregatorV3Interface} from "../src/interfaces/AggregatorV3Interface.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {InterestMath} from "../src/libraries/InterestMath.sol";
import {VaultRoles} from "../src/libraries/VaultRoles.sol";
import {MockERC20} from "../src/mocks/MockERC20.sol";
import {ScriptVm} from "./ScriptVm.sol";

/// @title Puts every contract on a chain, as networks/<name>.json says, and writes deployments/<name>.json
/// @notice Sends only what is missing or different: run again, it sends nothing. Addresses follow from the bytecode and
/// the constructor's arguments (CREATE2 by the deterministic deployment proxy), so that a run that broke off goes on.
/// The sender sets everything up as the AccessManager's administrator and hands over to the one in the file at the end.
contract Deploy {
    struct Deployed {
        AccessManager manager;
        PriceOracle oracle;
        Vault vault;
        EscrowFactory escrowFactory;
        address marketSetter;
        address multicall;
        address pyth;
    }

    ScriptVm private constant vm = ScriptVm(address(uint160(uint256(keccak256("hevm cheat code")))));
    /// @dev https://github.com/Arachnid/deterministic-deployment-proxy: on every public chain, and built into anvil.
    address private constant DEPLOYMENT_PROXY = 0x4e59b44847b379578588920cA78FbF26c0B4956C;

    error WrongChain(uint256 chainId, uint256 expected);
    error DeploymentFailed(string artifact);
    error DeploymentProxyMissing(uint256 chainId);
    /// @notice A role that could change everybody's terms at once, on a chain where that is somebody's money.
    error DelayMissing(string field);

    bytes32 private _salt;
    string private _config;
    string private _tokens;
    string private _feeds;
    bool private _isDevelopment;

    function run(string calldata network) external {
        _config = vm.readFile(string.concat("networks/", network, ".json"));
        uint256 chainId = vm.parseJsonUint(_config, ".chainId");
        if (chainId != block.chainid) revert WrongChain(block.chainid, chainId);
        if (DEPLOYMENT_PROXY.code.length == 0) revert DeploymentProxyMissing(block.chainid);
        // A salt of its own makes another set of contracts, beside those that are there.
        _salt = keccak256(bytes(string.concat("fusion-prime", vm.envOr("DEPLOYMENT_SALT", ""))));
        _isDevelopment = vm.parseJsonBool(_config, ".isDevelopment");
        vm.startBroadcast();
        Deployed memory deployed = _deployContracts();
        for (uint256 i = 0; vm.keyExistsJson(_config, _at(i, "")); ++i) {
            _configureAsset(deployed, i);
        }
        _setRoles(deployed);
        _handOver(deployed.manager);
        vm.stopBroadcast();
        _write(network, deployed);
    }

    // ---------------------------------------------------------------- contracts

    function _deployContracts() private returns (Deployed memory deployed) {
        deployed.manager = AccessManager(_deploy("AccessManager.sol:AccessManager", abi.encode(msg.sender)));
        deployed.oracle = PriceOracle(
            _deploy(
                "src/PriceOracle.sol:PriceOracle",
                abi.encode(
                    deployed.manager,
                    vm.parseJsonAddress(_config, ".sequencer.uptimeFeed"),
                    vm.parseJsonUint(_config, ".sequencer.graceS")
                )
            )
        );
        deployed.vault = Vault(
            _deploy(
                "src/Vault.sol:Vault",
                abi.encode(
                    deployed.manager,
                    deployed.oracle,
                    vm.parseJsonUint(_config, ".margin.initialBps"),
                    vm.parseJsonUint(_config, ".margin.liquidationBps")
                )
            )
        );
        deployed.escrowFactory = EscrowFactory(_deploy("src/EscrowFactory.sol:EscrowFactory", ""));
        if (!_isDevelopment) return deployed;
        deployed.marketSetter = _deploy("src/mocks/MarketSetter.sol:MarketSetter", abi.encode(msg.sender));
        deployed.multicall = _deploy("src/mocks/Multicall.sol:Multicall", "");
        deployed.pyth = _deploy("src/mocks/PythDevelopment.sol:PythDevelopment", "");
    }

    function _deploy(string memory artifact, bytes memory arguments) private returns (address deployed) {
        bytes memory code = abi.encodePacked(vm.getCode(artifact), arguments);
        bytes32 hash = keccak256(abi.encodePacked(bytes1(0xff), DEPLOYMENT_PROXY, _salt, keccak256(code)));
        deployed = address(uint160(uint256(hash)));
        if (deployed.code.length != 0) return deployed;
        (bool done,) = DEPLOYMENT_PROXY.call(abi.encodePacked(_salt, code));
        if (!done || deployed.code.length == 0) revert DeploymentFailed(artifact);
    }

    // ---------------------------------------------------------------- assets

    function _configureAsset(Deployed memory deployed, uint256 i) private {
        string memory symbol = vm.parseJsonString(_config, _at(i, ".symbol"));
        (address token, address feed) = _isDevelopment
            && vm.keyExistsJson(_config, _at(i, ".developmentPrice"))
            ? _developmentAsset(deployed, i, symbol)
            : (vm.parseJsonAddress(_config, _at(i, ".token")), vm.parseJsonAddress(_config, _at(i, ".feed")));
        _configureFeed(deployed.oracle, i, token, feed);
        IVault.AssetParameters memory parameters = _parameters(i);
        if (!_isConfigured(deployed.vault, token, parameters)) {
            deployed.vault.configureAsset(token, parameters);
        }
        uint256 decimals = token == address(0) ? 18 : MockERC20(token).decimals();
        _tokens = vm.serializeString("tokens", symbol, _tokenEntry(symbol, token, decimals));
        _feeds = vm.serializeAddress("feeds", symbol, feed);
    }

    function _developmentAsset(Deployed memory deployed, uint256 i, string memory symbol)
        private
        returns (address token, address feed)
    {
        uint256 decimals = vm.parseJsonUint(_config, _at(i, ".decimals"));
        if (!vm.parseJsonBool(_config, _at(i, ".isNative"))) {
            token = _deploy("src/mocks/MockERC20.sol:MockERC20", abi.encode(symbol, symbol, decimals));
        }
        feed = _deploy(
            "src/mocks/MockAggregator.sol:MockAggregator",
            abi.encode(
                deployed.marketSetter,
                8,
                string.concat(symbol, " / USD"),
                vm.parseJsonUint(_config, _at(i, ".developmentPrice"))
            )
        );
    }

    function _configureFeed(PriceOracle oracle, uint256 i, address token, address feed) private {
        uint32 heartbeatS = uint32(
            vm.parseJsonUint(_config, _at(i, ".heartbeatS")) + vm.parseJsonUint(_config, _at(i, ".slackS"))
        );
        uint128 low = uint128(vm.parseJsonUint(_config, _at(i, ".minPriceUsd")));
        uint128 high = uint128(vm.parseJsonUint(_config, _at(i, ".maxPriceUsd")));
        try oracle.feedOf(token) returns (PriceOracle.Feed memory known) {
            bool isSame = address(known.aggregator) == feed && known.heartbeatS == heartbeatS
                && known.minPriceUsd == low && known.maxPriceUsd == high;
            if (isSame) return;
        } catch {}
        oracle.configureFeed(token, AggregatorV3Interface(feed), heartbeatS, low, high);
    }

    function _parameters(uint256 i) private view returns (IVault.AssetParameters memory parameters) {
        parameters.collateralFactorBps = uint16(vm.parseJsonUint(_config, _at(i, ".collateralFactorBps")));
        parameters.borrowFactorBps = uint16(vm.parseJsonUint(_config, _at(i, ".borrowFactorBps")));
        parameters.liquidationBonusBps = uint16(vm.parseJsonUint(_config, _at(i, ".liquidationBonusBps")));
        parameters.reserveFactorBps = uint16(vm.parseJsonUint(_config, _at(i, ".reserveFactorBps")));
        parameters.curve = InterestMath.Curve({
            baseBps: uint16(vm.parseJsonUint(_config, _at(i, ".curve.baseBps"))),
            slopeBelowBps: uint16(vm.parseJsonUint(_config, _at(i, ".curve.slopeBelowBps"))),
            slopeAboveBps: uint16(vm.parseJsonUint(_config, _at(i, ".curve.slopeAboveBps"))),
            kinkBps: uint16(vm.parseJsonUint(_config, _at(i, ".curve.kinkBps")))
        });
        parameters.collateralCap = uint128(vm.parseJsonUint(_config, _at(i, ".collateralCap")));
        parameters.supplyCap = uint128(vm.parseJsonUint(_config, _at(i, ".supplyCap")));
        parameters.borrowCap = uint128(vm.parseJsonUint(_config, _at(i, ".borrowCap")));
    }

    function _isConfigured(Vault vault, address token, IVault.AssetParameters memory parameters)
        private
        view
        returns (bool)
    {
        try vault.assetConfig(token) returns (IVault.AssetConfig memory known) {
            // Field by field in the order of AssetParameters; what follows is not of the file.
            return keccak256(
                abi.encode(
                known.collateralFactorBps,
                known.borrowFactorBps,
                known.liquidationBonusBps,
                known.reserveFactorBps,
                known.baseBps,
                known.slopeBelowBps,
                known.slopeAboveBps,
                known.kinkBps,
                known.collateralCap,
                known.supplyCap,
                known.borrowCap
            )
            ) == keccak256(abi.encode(parameters));
        } catch {
            return false;
        }
    }

    // ---------------------------------------------------------------- roles

    function _setRoles(Deployed memory deployed) private {
        (AccessManager manager, address vault) = (deployed.manager, address(deployed.vault));
        _setFunctions(manager, vault, VaultRoles.guardianFunctions(), VaultRoles.GUARDIAN);
        _setFunctions(manager, vault, VaultRoles.riskFunctions(), VaultRoles.RISK_OFFICER);
        _setFunctions(manager, vault, VaultRoles.treasuryFunctions(), VaultRoles.TREASURER);
        _setFunctions(
            manager, address(deployed.oracle), VaultRoles.oracleFunctions(), VaultRoles.RISK_OFFICER
        );
        _grant(manager, VaultRoles.GUARDIAN, vm.parseJsonAddress(_config, ".roles.guardian"), 0);
        _grant(
            manager,
            VaultRoles.RISK_OFFICER,
            vm.parseJsonAddress(_config, ".roles.riskOfficer"),
            _delayS(".roles.riskDelayS")
        );
        _grant(
            manager,
            VaultRoles.TREASURER,
            vm.parseJsonAddress(_config, ".roles.treasurer"),
            _delayS(".roles.treasuryDelayS")
        );
    }

    function _setFunctions(AccessManager manager, address target, bytes4[] memory selectors, uint64 role)
        private
    {
        for (uint256 i = 0; i < selectors.length; ++i) {
            if (manager.getTargetFunctionRole(target, selectors[i]) != role) {
                manager.setTargetFunctionRole(target, selectors, role);
                return;
            }
        }
    }

    function _grant(AccessManager manager, uint64 role, address account, uint32 delayS) private {
        (bool isMember, uint32 knownDelayS) = manager.hasRole(role, account);
        if (!isMember || knownDelayS != delayS) manager.grantRole(role, account, delayS);
    }

    function _handOver(AccessManager manager) private {
        address admin = vm.parseJsonAddress(_config, ".roles.admin");
        uint64 role = manager.ADMIN_ROLE();
        (bool isMember,) = manager.hasRole(role, admin);
        if (!isMember) {
            manager.grantRole(role, admin, _delayS(".roles.adminDelayS"));
        }
        (bool isSender,) = manager.hasRole(role, msg.sender);
        if (msg.sender != admin && isSender) manager.renounceRole(role, msg.sender);
    }

    function _delayS(string memory field) private view returns (uint32 delayS) {
        delayS = uint32(vm.parseJsonUint(_config, field));
        if (delayS == 0 && !_isDevelopment) revert DelayMissing(field);
    }

    // ---------------------------------------------------------------- the file

    function _write(string calldata network, Deployed memory deployed) private {
        vm.serializeAddress("contracts", "AccessManager", address(deployed.manager));
        vm.serializeAddress("contracts", "PriceOracle", address(deployed.oracle));
        vm.serializeAddress("contracts", "Vault", address(deployed.vault));
        string memory contracts =
            vm.serializeAddress("contracts", "EscrowFactory", address(deployed.escrowFactory));
        if (_isDevelopment) {
            vm.serializeAddress("contracts", "Multicall", deployed.multicall);
            vm.serializeAddress("contracts", "PythDevelopment", deployed.pyth);
            contracts = vm.serializeAddress("contracts", "MarketSetter", deployed.marketSetter);
        }
        vm.serializeUint("deployment", "chainId", block.chainid);
        // Chains of one network file that run at the same time on one machine have a deployment file each.
        string memory path = string.concat("deployments/", vm.envOr("DEPLOYMENT_NAME", network), ".json");
        vm.serializeUint("deployment", "blockNumber", _firstBlock(path, address(deployed.vault)));
        vm.serializeString("deployment", "network", network);
        vm.serializeAddress("deployment", "deployer", msg.sender);
        vm.serializeString("deployment", "contracts", contracts);
        vm.serializeString("deployment", "tokens", _tokens);
        string memory text = vm.serializeString("deployment", "feeds", _feeds);
        vm.writeJson(text, path);
    }

    /// @dev No event of this vault is older. A run that changes only parameters keeps what the first one wrote.
    function _firstBlock(string memory path, address vault) private view returns (uint256) {
        if (!vm.exists(path)) return block.number;
        string memory before = vm.readFile(path);
        if (vm.parseJsonAddress(before, ".contracts.Vault") != vault) return block.number;
        return vm.parseJsonUint(before, ".blockNumber");
    }

    function _tokenEntry(string memory symbol, address token, uint256 decimals)
        private
        returns (string memory)
    {
        vm.serializeAddress(symbol, "address", token);
        return vm.serializeUint(symbol, "decimals", decimals);
    }

    function _at(uint256 i, string memory field) private pure returns (string memory) {
        return string.concat(".assets[", vm.toString(i), "]", field);
    }
}
