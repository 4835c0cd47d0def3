#!/usr/bin/python3
"""A second implementation of the signing service's protocol, from docs/protocol.md alone.

peer.py check docs/protocol.md vectors.json   checks the vectors
peer.py seal                                  prints requests by its own key, in hex, one a line
"""
import base64
import hashlib
import json
import re
import sys

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

import cddl

REQUEST, LEAF = b"imasign-build signing request v1\n", b"imasign-build signature v1\n"
APPROVAL = b"imasign-build approval v1\n"
HASHES = {4: hashlib.sha256, 5: hashlib.sha384, 6: hashlib.sha512, 7: hashlib.sha224}


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def leaf_hash(data):
    return hashlib.sha256(b"\0" + data).digest()


def tree(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return node(tree(leaves[:split]), tree(leaves[split:]))


def climb(index, size, leaf, path):
    """Return the root that a proof leads to (RFC 9162, section 2.1.3.2)."""
    last, at = size - 1, leaf
    for sibling in path:
        assert last > 0, "the proof is too long"
        if index % 2 or index == last:
            at = node(sibling, at)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            at = node(at, sibling)
        index, last = index // 2, last // 2
    assert last == 0, "the proof is too short"
    return at


class Checker:
    def __init__(self, page, vectors):
        self.page, self.v, self.rules, self.count = page, vectors, cddl.load(page), 0
        self.log = []  # leaf hashes

    def message(self, kind, body):
        """Decode a message that must be valid and canonical."""
        value = cbor2.loads(body)
        assert cbor2.dumps(value, canonical=True) == body, f"{kind}: another encoding"
        cddl.check(self.rules, kind, value)
        if kind == "refusal":
            assert re.fullmatch("[a-z-]{1,32}", value[1]) and value[2].isprintable()
        self.count += 1
        return value

    def keys(self):
        for name in "requester", "log":
            key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.v[name]["private"])).public_key()
            assert key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex() == self.v[name]["public"]
        self.spki = bytes.fromhex(self.v["key"]["public"])
        self.key = serialization.load_der_public_key(self.spki)
        scalar = int(self.v["key"]["private"], 16)
        assert ec.derive_private_key(scalar, ec.SECP256R1()).public_key().public_numbers() == self.key.public_numbers()

    def open(self, body):
        payload, signature = self.message("envelope", body)
        request = self.message("request", payload)
        ed25519.Ed25519PublicKey.from_public_bytes(request[4]).verify(signature, REQUEST + payload)
        size = HASHES[request[9]]().digest_size
        assert 0 < len(request[10]) <= 1024 * size and len(request[10]) % size == 0
        digests = [request[10][i:i + size] for i in range(0, len(request[10]), size)]
        claims, seen = request.get(12, []), 0
        assert not claims or len(claims) == len(digests)
        for origin, _, value in claims:
            assert origin <= seen and (not value or request[7] == 5)
            seen = max(seen, origin + 1)
        assert seen == len(request.get(11, []))
        return payload, request, digests

    def leaf(self, request, digest, signature):
        spki = hashlib.sha256(self.spki).digest()
        return leaf_hash(LEAF + spki + bytes([request[7], request[8], request[9]]) + digest + signature)

    def signature(self, request, digest, signature):
        message, hash_ = digest, HASHES[request[9]]
        if request[8] == 3:
            message = hash_(bytes([request[7], request[9]]) + digest).digest()
        algorithm = {32: hashes.SHA256(), 48: hashes.SHA384(), 64: hashes.SHA512()}[len(message)]
        self.key.verify(signature, message, ec.ECDSA(Prehashed(algorithm)))
        self.count += 1

    def batches(self):
        """Check requests, their answers and records."""
        made = []
        for r, a, x in zip(self.v["requests"], self.v["answers"], self.v["records"]):
            payload, request, digests = self.open(bytes.fromhex(r["body"]))
            assert payload.hex() == r["payload"]
            answer = self.message("answer", bytes.fromhex(a["body"]))
            assert answer[2] == request[5] and len(answer[3]) == len(digests)
            leaves = []
            for digest, signature in zip(digests, answer[3]):
                self.signature(request, digest, signature)
                leaves.append(self.leaf(request, digest, signature))
                made.append((digest.hex(), signature.hex(), leaves[-1].hex()))
            record = self.message("record", answer[4][1])
            assert answer[4][1].hex() == x["record"] and answer[4][2] == x["proof"]
            assert record[14] == tree(leaves), "the root is not that of the leaves"
            assert [record[i] for i in (4, 5, 6, 8, 9, 10)] == [request[i] for i in (4, 5, 3, 7, 8, 9)]
            assert record[7] == hashlib.sha256(self.spki).digest() and record[11] == len(digests)
            details = cbor2.loads(bytes.fromhex(x["details"]))
            assert details[2] == request[10] and details[3] == b"".join(leaves)
            assert details.get(5, []) == request.get(12, [])
        assert made == [(x["digest"], x["signature"], x["leaf"]) for x in self.v["leaves"]]

    def records(self):
        for x in self.v["records"]:
            body, details = bytes.fromhex(x["record"]), bytes.fromhex(x["details"])
            record = self.message("record", body)
            self.message("details", details)
            assert record[15] == hashlib.sha256(details).digest()
            assert bool(record[12]) != bool(record[13]) and bool(record[12]) == bool(record[14])
            self.log.append(leaf_hash(body))
            self.proof(x["proof"], len(self.log) - 1)

    def proof(self, text, index):
        head, checkpoint = text.split("\n\n", 1)
        title, number, *path = head.split("\n")
        assert title == "c2sp.org/tlog-proof@v1" and number == f"index {index}"
        signed, signature = checkpoint.split("\n\n")
        origin, size, root = signed.split("\n")
        root = base64.b64decode(root, validate=True)
        assert root == tree(self.log[:int(size)]), "the root is not that of the log"
        path = [base64.b64decode(h, validate=True) for h in path]
        assert climb(index, int(size), self.log[index], path) == root, "the proof does not lead to the root"
        name, key_id, key = self.v["log_key"].split("+", 2)
        key = base64.b64decode(key, validate=True)
        assert hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] == key_id and key[0] == 1 and origin == name
        match = re.fullmatch("\u2014 (\\S+) (\\S+)\n", signature)
        raw = base64.b64decode(match.group(2), validate=True)
        assert match.group(1) == name and raw[:4].hex() == key_id
        ed25519.Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], (signed + "\n").encode())
        self.count += 1

    def roots(self):
        for x in self.v["roots"]:
            assert tree([bytes.fromhex(leaf) for leaf in x["leaves"]]).hex() == x["root"]
            self.count += 1

    def refusals(self):
        """Compare the page's table of refusals with the vectors."""
        table = re.findall(r"^\| `([a-z-]+)` \| (\d+) \| .* \| (.*) \|$", self.page, re.M)
        made = []
        for x in self.v["refusals"]:
            assert self.message("refusal", bytes.fromhex(x["body"]))[1] == x["code"]
            made.append((x["code"], str(x["status"]), x["elsewhere"]))
        assert [(code, status, "another server" in client) for code, status, client in table] == made

    def refused(self):
        for x in self.v["malformed_refusals"]:
            self.wrong(lambda: self.message("refusal", bytes.fromhex(x["body"])), x["name"])
        for x in self.v["refused_requests"]:
            self.wrong(lambda: self.open(bytes.fromhex(x["body"])), x["name"])

    def wrong(self, read, name):
        try:
            read()
        except (AssertionError, InvalidSignature, ValueError, cbor2.CBORDecodeError):
            self.count += 1
        else:
            raise AssertionError(f"{name} was read")

    def run(self):
        self.keys()
        self.batches()
        self.records()
        self.roots()
        self.refusals()
        self.refused()
        for x in self.v["keys"]:
            self.message("key", bytes.fromhex(x["body"]))
        approver = serialization.load_der_public_key(bytes.fromhex(self.v["approver"]["public"]))
        for x in self.v["approvals"]:
            statement, signature = self.message("sealed", bytes.fromhex(x["body"]))
            assert self.message("approval", statement)[2] == hashlib.sha256(self.spki).digest()
            approver.verify(signature, APPROVAL + statement, ec.ECDSA(hashes.SHA256()))
        for x in self.v["found"]:
            self.message("found", bytes.fromhex(x["body"]))
        print(f"{self.count} checks")


def seal():
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    for kind, version, hash_ in (3, 2, 4), (3, 3, 5), (6, 3, 6), (5, 2, 4), (5, 3, 7):
        for digests in 1, 3, 23, 256, 1024:
            request = {
                12: [[i % 2 if i else 0, b"usr/bin/\xff%d" % i, b"\4\4" if kind == 5 else b""] for i in range(digests)],
                11: [{2: b"a.rpm", 1: "rpm"}, {1: "tree"}][:digests], 10: b"".join(HASHES[hash_](b"%d" % i).digest() for i in range(digests)),
                9: hash_, 8: version, 7: kind, 6: 1 << 32, 5: bytes(16), 4: public, 3: "image-1", 2: "[::1]:7443", 1: 1,
            }
            payload = cbor2.dumps(request, canonical=True)
            print(cbor2.dumps([payload, key.sign(REQUEST + payload)], canonical=True).hex())


if sys.argv[1] == "seal":
    seal()
else:
    with open(sys.argv[2], encoding="utf-8") as page, open(sys.argv[3], encoding="utf-8") as file:
        Checker(page.read(), json.load(file)).run()
