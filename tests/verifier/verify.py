#!/usr/bin/env python3
"""Verifies Tollgate's journal, and proofs and receipts made of it: a second program that shares no code with the first.

    verify.py log FOLDER [KEY]     the journal in a folder; its first key must be KEY, where one is given
    verify.py proof FILE KEY       a C2SP tlog-proof with the record as its extra data, signed by KEY
    verify.py receipt FILE KEY     the receipt of a call, whose first key must be KEY
    verify.py batch                folders from standard input, a line each; a line of JSON for each

Python's standard library and nothing else. It knows how records are linked, signed and handed from key to key, and the
one form that JSON has in them; not what each kind of record may say, beyond those that are about the journal itself.
"""

import base64
import hashlib
import json
import os
import re
import sys
import unicodedata
import zlib

import ed25519

MAX_LINE, MAX_NOTE = 256 << 10, 256 << 10
HEAD = re.compile(
    rb'\{"v":1,"seq":(0|[1-9][0-9]*),"time":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z",'
    rb'"prev":"sha256:([0-9a-f]{64})","kind":"([^"]*)"'
)
UNSAFE = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
NAME = re.compile(r"([0-9]{20})\.(jsonl|jsonl\.gz|checkpoints|hashes|ends|cosigned)\Z")


class Bad(Exception):
    """Something is not what was written."""


def need(condition, why):
    if not condition:
        raise Bad(why)


# --- RFC 6962 ---


def leaf(line):
    return hashlib.sha256(b"\0" + line).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    def __init__(self):
        self.size, self.peaks = 0, []

    def push(self, hash):
        size = self.size
        while size & 1:
            hash, size = node(self.peaks.pop(), hash), size >> 1
        self.peaks.append(hash)
        self.size += 1

    def root(self):
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node(peak, root)
        return root


def root_of(hash, index, size, path):
    """The root that a path leads to, by the definition turned around."""
    if size == 1:
        need(not path, "the path is too long")
        return hash
    need(path, "the path is too short")
    half = 1 << (size - 1).bit_length() - 1
    if index < half:
        return node(root_of(hash, index, half, path[:-1]), path[-1])
    return node(path[-1], root_of(hash, index - half, size - half, path[:-1]))


# --- C2SP signed notes and checkpoints ---


def base(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Bad("not base64") from None
    need(base64.b64encode(data).decode() == text, "not base64 in its one form")
    return data


def number(text):
    need(re.fullmatch("0|[1-9][0-9]*", text, re.ASCII) and int(text) < 2**64, "not a plain number")
    return int(text)


def is_name(text):
    return text != "" and not any(c == "+" or c.isspace() or unicodedata.category(c) == "Cc" for c in text)


def vkey(text, log=None):
    """A verifier key of a log, as name, id and 32 bytes."""
    parts = text.split("+", 2)
    need(len(parts) == 3 and is_name(parts[0]), "not a verifier key")
    key = base(parts[2])
    need(key[:1] == b"\1" and ed25519.is_key(key[1:]), "not a key of Ed25519")
    id = hashlib.sha256(parts[0].encode() + b"\n" + key).digest()[:4]
    need(parts[1] == id.hex(), "the id of the key is another one")
    need(log in (None, parts[0]), "the key is one of another log")
    return parts[0], id, key[1:]


class Note:
    """A checkpoint, of which nothing counts before `verify`."""

    def __init__(self, data):
        need(len(data) <= MAX_NOTE and not re.search(rb"[\x00-\x09\x0b-\x1f]", data), "not a note")
        try:
            text, cut, lines = data.decode().rpartition("\n\n")
        except UnicodeDecodeError:
            raise Bad("not a note") from None
        need(cut and lines.endswith("\n") and lines.count("\n") <= 32, "not a note")
        self.text, self.signatures = text + "\n", []
        for line in lines[:-1].split("\n"):
            dash, name, signature = (line.split(" ", 2) + ["", ""])[:3]
            need(dash == "\u2014" and is_name(name), "not a signature line")
            signature = base(signature)
            need(len(signature) > 4, "not a signature")
            self.signatures.append((name, signature[:4], signature[4:]))
        lines = text.split("\n")
        need(len(lines) == 3 and lines[0], "not a checkpoint")
        self.origin, self.size, self.root = lines[0], number(lines[1]), base(lines[2])
        need(len(self.root) == 32, "not a checkpoint")

    def verify(self, key):
        known = [signature for name, id, signature in self.signatures if (name, id) == key[:2]]
        need(known and self.origin == key[0], "not signed by the log's key")
        for signature in known:
            need(ed25519.verifies(key[2], self.text.encode(), signature), "the signature does not verify")
        return self


def notes(data):
    """Notes one after the other: text, an empty line, signatures, an empty line. What is left has no end."""
    found, note, empty = [], b"", 0
    for line in re.findall(rb"[^\n]*\n|[^\n]+", data):
        empty += line == b"\n"
        if empty == 2:
            found.append(note)
            note, empty = b"", 0
        else:
            note += line
    return found, note


# --- Records ---


def unique(pairs):
    need(len(dict(pairs)) == len(pairs), "a key twice")
    return dict(pairs)


def escaped(match):
    return "".join("\\u%04x" % unit for unit in memoryview(match[0].encode("utf-16-le")).cast("H"))


def record(line):
    """Number, `prev`, and the whole record, in the one form that it has."""
    head = HEAD.match(line)
    need(head and len(line) < MAX_LINE, "not a record")
    try:
        value = json.loads(line, object_pairs_hook=unique, parse_constant=lambda _: need(False, "not JSON"))
    except (ValueError, RecursionError):
        raise Bad("not JSON") from None
    again = UNSAFE.sub(escaped, json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    need(again.encode("utf-8", "surrogatepass") == line, "not in the one form of a record")
    return int(head[1]), bytes.fromhex(head[2].decode()), value


# --- The journal ---


def unpacked(data):
    """Every member of a gzip file, and nothing else in it."""
    out = b""
    while data:
        member = zlib.decompressobj(31)
        try:
            out += member.decompress(data)
        except zlib.error:
            raise Bad("can't be decompressed") from None
        need(member.eof, "can't be decompressed")
        data = member.unused_data
    return out


class Log:
    def __init__(self, folder, key=None):
        self.folder, self.given = folder, key and vkey(key)
        self.records, self.last, self.tree = 0, bytes(32), Tree()
        self.handed, self.origin, self.first_key = None, None, None
        self.signed = self.torn = self.said = 0
        names = os.listdir(folder)
        self.files = {(m[2], int(m[1])) for m in map(NAME.match, names) if m and int(m[1]) < 2**64}
        firsts = sorted({first for kind, first in self.files if kind in ("jsonl", "jsonl.gz", "ends")})
        removed, had_lines = 0, False
        for first in firsts:
            need(first == self.records + 1, "a segment is missing")
            has_lines = bool({("jsonl", first), ("jsonl.gz", first)} & self.files)
            need(has_lines or not had_lines, "lines are gone, and those of an older segment are there")
            had_lines = has_lines
            removed = removed if has_lines else first
            self.segment(first, has_lines, first == firsts[-1])
        need(removed <= self.said, "lines are gone, and no record says that they were removed")
        end = firsts[-1] if firsts else 0
        for kind, first in self.files:
            begun = kind == "checkpoints" and not self.read(kind, first)
            need(first <= end or begun, "records are gone, and what belongs to them is there")
        need(firsts or "log.pub" not in names, "all records are gone")

    def read(self, kind, first):
        with open(os.path.join(self.folder, f"{first:020}.{kind}"), "rb") as file:
            return file.read()

    def lines(self, first, is_last):
        if ("jsonl", first) in self.files:
            data = self.read("jsonl", first)
        else:
            data = unpacked(self.read("jsonl.gz", first))
        lines = data.split(b"\n")
        rest = lines.pop()
        need(not rest or (is_last and len(rest) < MAX_LINE), "the last line has no end")
        self.torn = len(rest)
        return [(leaf(line), line) for line in lines]

    def ends(self, first):
        data = self.read("ends", first)
        need(("hashes", first) in self.files and data.endswith(b"\n"), "what is kept of removed lines is not whole")
        hashes, lines = self.read("hashes", first), data[:-1].split(b"\n")
        leaves = [(hashes[at : at + 32], None) for at in range(0, len(hashes), 32)]
        need(len(lines) == 2 and len(leaves) >= 2, "the first and the last line are kept")
        for at, line in ((0, lines[0]), (-1, lines[1])):
            need(leaf(line) == leaves[at][0], "a digest is not that of its line")
            leaves[at] = (leaf(line), line)
        return leaves

    def segment(self, first, has_lines, is_last):
        key, closed, leaves = None, False, b""
        for place, (hash, line) in enumerate(self.lines(first, is_last) if has_lines else self.ends(first)):
            need(not closed, "the line before closed the segment")
            leaves += hash
            if line is not None:
                seq, prev, value = record(line)
                need(seq == self.records + 1, "another number was to come")
                need(prev == self.last, "`prev` is not the line before")
                need((value["kind"] == "segment-opened") == (place == 0), "a segment starts with `segment-opened`")
                if place == 0:
                    key = self.opened(value)
                    checkpoints = self.checkpoints(first, is_last, key)
                elif value["kind"] == "segment-closed":
                    self.handed, closed = vkey(value["next"], self.origin), True
                elif value["kind"] == "changed" and value["change"] == "journal.pruned":
                    said = value["subject"] or ""
                    self.said = max(self.said, int(said) if re.fullmatch(r"\+?[0-9]+", said, re.ASCII) else 0)
            self.tree.push(hash)
            self.last, self.records = hash, self.records + 1
            while checkpoints and checkpoints[0].size == self.records:
                need(checkpoints.pop(0).root == self.tree.root(), "a checkpoint is of other lines")
                self.signed = self.records
        if key is None:
            need(is_last, "a segment is empty")
            need(("checkpoints", first) not in self.files or not self.read("checkpoints", first), "the end was cut off")
            return
        need(not checkpoints, "a checkpoint speaks of more lines: the end was cut off")
        need(is_last or (closed and self.signed == self.records), "the segment does not end as one does")
        if closed and ("hashes", first) in self.files:
            need(self.read("hashes", first) == leaves, "a digest that is kept is another one")

    def opened(self, value):
        key = vkey(value["key"], value["origin"])
        peaks = [bytes.fromhex(peak.removeprefix("sha256:")) for peak in value["peaks"]]
        need((value["size"], peaks) == (self.tree.size, self.tree.peaks), "its tree is not that of the lines before")
        need(self.handed in (None, key), "its key is not the one that was handed to")
        need(self.records or self.given in (None, key), "its key is not the one that is trusted")
        self.origin, self.first_key = value["origin"], self.first_key or value["key"]
        return key

    def checkpoints(self, first, is_last, key):
        data = self.read("checkpoints", first) if ("checkpoints", first) in self.files else b""
        found, rest = notes(data)
        need(not rest or is_last, "a checkpoint has no end")
        good, size = [], first - 1
        for note in found:
            # A loss of power leaves zeroes; what comes after them was never relied upon.
            if is_last and b"\0" in note:
                break
            good.append(Note(note).verify(key))
            need(good[-1].size > size, "a checkpoint stands behind a later one")
            size = good[-1].size
        return good


# --- Proofs and receipts ---


def proof(text, line, key):
    """The checkpoint and the index of a tlog-proof of a line."""
    head, cut, note = text.partition("\n\n")
    lines = head.split("\n")
    need(cut and lines.pop(0) == "c2sp.org/tlog-proof@v1" and lines, "not a tlog-proof")
    if lines[0].startswith("extra "):
        extra = base(lines.pop(0)[6:])
        line = extra if line is None else line
    need(lines and lines[0].startswith("index ") and line is not None, "not a tlog-proof of a record")
    index, path = number(lines[0][6:]), [base(hash) for hash in lines[1:]]
    checkpoint = Note(note.encode()).verify(key)
    need(index < checkpoint.size and len(path) <= 64, "the log has no such record")
    need(root_of(leaf(line), index, checkpoint.size, path) == checkpoint.root, "the record is not in the log")
    seq, _, value = record(line)
    need(seq == index + 1, "the record has another number")
    return checkpoint, index, value


def receipt(text, trusted):
    value = json.loads(text, object_pairs_hook=unique)
    need(value["tollgate_receipt"] == 1 and value["key"] == trusted, "not a receipt that rests on this key")
    reigns = [(0, vkey(value["key"], value["log"]))]
    for shown in value["keys"]:
        start, key = reigns[-1]
        checkpoint, index, closing = proof(shown["proof"], shown["record"].encode(), key)
        need(closing["kind"] == "segment-closed" and index >= start, "a record that names no key")
        need(checkpoint.size <= index + 1, "a key signed for what came after it")
        reigns.append((index + 1, vkey(closing["next"], value["log"])))
    before = -1
    for shown in value["records"]:
        seq, _, _ = record(shown["record"].encode())
        key = [key for start, key in reigns if start < seq][-1]
        _, index, of = proof(shown["proof"], shown["record"].encode(), key)
        is_of = of.get("call") == value["call"] or value["call"] in of.get("unknown", [])
        need(is_of and index > before, "a record is not of this call, or out of order")
        before = index
    need(before >= 0, "no record")


def looked(folder, key=None):
    try:
        log = Log(folder, key)
    except (Bad, KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        return {"good": False, "why": str(error)}
    return {
        "good": True,
        "records": log.records,
        "signed": log.signed,
        "torn_tail": log.torn,
        "root": log.tree.root().hex(),
        "key": log.first_key,
    }


def main(what, *rest):
    if what == "batch":
        for folder in sys.stdin:
            print(json.dumps(looked(folder.rstrip("\n"))), flush=True)
        return 0
    if what == "log":
        found = looked(*rest)
        print(json.dumps(found))
        return 0 if found["good"] else 6
    with open(rest[0], encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        if what == "proof":
            proof(text, None, vkey(rest[1]))
        else:
            receipt(text, rest[1])
    except (Bad, KeyError, TypeError, ValueError, IndexError) as error:
        print(f"bad: {error}")
        return 6
    print("good")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
