"""A server that speaks the Cloud KMS protocol for the two calls of a signer, with a key of its own.

The client is Google's. The key is OpenSSL's and the checksums are the ``google_crc32c`` library's, so that
nothing here shares code with what is tested. Source: google/cloud/kms/v1/service.proto.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import grpc
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.cloud.kms_v1 import KeyManagementServiceClient
from google.cloud.kms_v1.services.key_management_service.transports import (
    KeyManagementServiceGrpcTransport,
)
from google.cloud.kms_v1.types import (
    AsymmetricSignRequest,
    AsymmetricSignResponse,
    CryptoKeyVersion,
    GetPublicKeyRequest,
    ProtectionLevel,
    PublicKey,
)

KEY_VERSION = "projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SERVICE = "google.cloud.kms.v1.KeyManagementService"


def _checksum(data: bytes) -> int:
    return int(google_crc32c.value(data))


@dataclass
class KeyService:
    """The service's key, and what it does otherwise than it should."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256K1()))
    high_s: bool = False
    spoil_signature: Callable[[AsymmetricSignResponse], None] = lambda _answer: None
    spoil_public_key: Callable[[PublicKey], None] = lambda _answer: None
    corrupt_digest: bool = False
    failure: grpc.StatusCode | None = None
    calls: list[str] = field(default_factory=list)

    def get_public_key(self, request: GetPublicKeyRequest, context: grpc.ServicerContext) -> PublicKey:
        """The key's public part in PEM."""
        self._begin("GetPublicKey", request.name, context)
        public = self.key.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        answer = PublicKey(
            name=request.name,
            pem=pem,
            pem_crc32c=_checksum(pem.encode()),
            algorithm=CryptoKeyVersion.CryptoKeyVersionAlgorithm.EC_SIGN_SECP256K1_SHA256,
            protection_level=ProtectionLevel.HSM,
        )
        self.spoil_public_key(answer)
        return answer

    def asymmetric_sign(
        self, request: AsymmetricSignRequest, context: grpc.ServicerContext
    ) -> AsymmetricSignResponse:
        """A signature in DER of the digest that came, if that is the one that its checksum is of."""
        self._begin("AsymmetricSign", request.name, context)
        digest = request.digest.sha256
        if self.corrupt_digest:
            digest = hashlib.sha256(digest).digest()
        if "digest_crc32c" in request and request.digest_crc32c != _checksum(digest):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the digest's checksum does not match")
        r, s = decode_dss_signature(self.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        low, high = sorted((s, ORDER - s))
        signature = encode_dss_signature(r, high if self.high_s else low)
        answer = AsymmetricSignResponse(
            name=request.name,
            signature=signature,
            signature_crc32c=_checksum(signature),
            verified_digest_crc32c="digest_crc32c" in request,
            protection_level=ProtectionLevel.HSM,
        )
        self.spoil_signature(answer)
        return answer

    def _begin(self, method: str, name: str, context: grpc.ServicerContext) -> None:
        self.calls.append(method)
        if self.failure is not None:
            context.abort(self.failure, "as the test wants it")
        if name != KEY_VERSION:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no key version {name}")


def _handler(method: Callable[[Any, Any], Any], request: Any, answer: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        method, request_deserializer=request.deserialize, response_serializer=answer.serialize
    )


@contextmanager
def serving(service: KeyService) -> Iterator[KeyManagementServiceClient]:
    """Google's client of a service on a port of this machine."""
    server = grpc.server(ThreadPoolExecutor(2))
    handlers = {
        "GetPublicKey": _handler(service.get_public_key, GetPublicKeyRequest, PublicKey),
        "AsymmetricSign": _handler(service.asymmetric_sign, AsymmetricSignRequest, AsymmetricSignResponse),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    try:
        yield KeyManagementServiceClient(transport=KeyManagementServiceGrpcTransport(channel=channel))
    finally:
        channel.close()
        server.stop(grace=None).wait()
