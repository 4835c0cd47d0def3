# Reads and writes shared signatures as the comment of the Go package describes them.
#   shards.py read DIR    prints one JSON array for each signature
#   shards.py write DIR   writes a directory with the signatures of standard input
import hashlib, json, os, sys

SIZES = {4: 32, 6: 64}  # of digests, by hash id


def number(data, at, size=4):
    return int.from_bytes(data[at:at + size], "big")


def address(key, xattr, kind, digest):
    text = b"imasign-signature-1\0" + hashlib.sha256(key).digest()
    text += len(xattr).to_bytes(2, "big") + xattr + kind + digest
    return hashlib.sha256(text).digest()


def read_shard(data, first, count):
    assert data[:8] == b"imashard" and number(data, 8) == 1 and number(data, 12) == first
    groups, entries, table = number(data, 16), number(data, 20), number(data, 24)
    assert entries == count and number(data, 28) == 0
    at, kinds = 32, []
    while at < 32 + table:
        key = data[at + 2:at + 2 + number(data, at, 2)]
        at += 2 + len(key)
        xattr = data[at + 1:at + 1 + data[at]]
        at += 1 + len(xattr)
        kinds.append((key, xattr, data[at:at + 4]))
        at += 4
    assert at == 32 + table and len(kinds) == groups and kinds
    offsets = [number(data, at + 36 * i + 32) for i in range(entries)] + [len(data)]
    assert offsets[0] == at + 36 * entries
    for i in range(entries):
        record = data[offsets[i]:offsets[i + 1]]
        key, xattr, kind = kinds[number(record, 0, 2)]
        size = SIZES[kind[3]]
        digest, signature = record[2:2 + size], record[2 + size:]
        assert data[at + 36 * i:at + 36 * i + 32] == address(key, xattr, kind, digest)
        print(json.dumps([key.hex(), xattr.decode(), kind.hex(), digest.hex(), signature.hex()]))


def read(directory):
    with open(os.path.join(directory, "ima-signatures.index")) as f:
        lines = f.read().splitlines()
    assert lines[0] == "imasign-signatures 1 %d" % (len(lines) - 1)
    for line in lines[1:]:
        name, size, count = line.split(" ")
        with open(os.path.join(directory, name), "rb") as f:
            data = f.read()
        first, digest = name[len("ima-signatures-"):-len(".shard")].split("-")
        assert hashlib.sha256(data).hexdigest() == digest and len(data) == int(size)
        read_shard(data, int(first, 16), int(count))


def write_shard(first, entries):
    entries.sort()
    group = {}
    for _, key, xattr, kind, _ in entries:
        text = len(key).to_bytes(2, "big") + key + bytes([len(xattr)]) + xattr + kind
        group[key, xattr, kind] = text
    numbers = {kind: n for n, kind in enumerate(sorted(group, key=group.get))}
    table = b"".join(sorted(group.values()))
    head = [1, first, len(group), len(entries), len(table), 0]
    data = b"imashard" + b"".join(n.to_bytes(4, "big") for n in head) + table
    offset = len(data) + 36 * len(entries)
    records = b""
    for at, key, xattr, kind, rest in entries:
        data += at + (offset + len(records)).to_bytes(4, "big")
        records += numbers[key, xattr, kind].to_bytes(2, "big") + rest
    return data + records


def write(directory):
    os.mkdir(directory)
    shards = {}
    for line in sys.stdin:
        key, xattr, kind, digest, signature = json.loads(line)
        key, xattr, kind, digest = bytes.fromhex(key), xattr.encode(), bytes.fromhex(kind), bytes.fromhex(digest)
        at = address(key, xattr, kind, digest)
        shards.setdefault(at[0], []).append((at, key, xattr, kind, digest + bytes.fromhex(signature)))
    lines = ["imasign-signatures 1 %d\n" % len(shards)]
    for first, entries in sorted(shards.items()):
        data = write_shard(first, entries)
        name = "ima-signatures-%02x-%s.shard" % (first, hashlib.sha256(data).hexdigest())
        with open(os.path.join(directory, name), "wb") as f:
            f.write(data)
        lines.append("%s %d %d\n" % (name, len(data), len(entries)))
    with open(os.path.join(directory, "ima-signatures.index"), "w") as f:
        f.writelines(lines)


{"read": read, "write": write}[sys.argv[1]](sys.argv[2])
