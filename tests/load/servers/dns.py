"""A name server of a hundred lines for the domains under test: SRV, A, and nothing else."""

import socket
import struct
import threading

A, AAAA, SRV = 1, 28, 33
NXDOMAIN = 3


def encode_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def decode_name(packet, at):
    labels = []
    while packet[at]:
        length = packet[at]
        labels.append(packet[at + 1:at + 1 + length].decode("ascii", "replace"))
        at += 1 + length
    return ".".join(labels), at + 1


class NameServer:
    """`domains`: {domain: (addresses, S2S port)}. Serves on a thread until `close`.

    SRV targets are written as addresses ('127.0.0.2' is a name like any other to DNS): ejabberd asks
    its own resolver for SRV, but the C library, hence /etc/resolv.conf, for the target's address;
    so it finds the peer without a change to the machine. Prosody asks us for that 'name', and gets
    it.
    """

    def __init__(self, address, port, domains):
        self.address, self.port = address, port
        self.records = {}
        for domain, (hosts, s2s) in domains.items():
            targets = [struct.pack("!HHH", 0, 1, s2s) + encode_name(host) for host in hosts]
            self.records[f"_xmpp-server._tcp.{domain}"] = {SRV: targets}
            self.records[domain] = {A: [socket.inet_aton(host) for host in hosts]}
            for host in hosts:
                self.records[host] = {A: [socket.inet_aton(host)]}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                packet, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            try:
                answer = self._answer(packet)
            except (IndexError, struct.error):
                continue
            self.socket.sendto(answer, peer)

    def _answer(self, packet):
        name, end = decode_name(packet, 12)
        kind, _ = struct.unpack("!HH", packet[end:end + 4])
        question = packet[12:end + 4]
        known = self.records.get(name.lower())
        records = (known or {}).get(kind, [])
        answer = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data
                          for data in records)
        code = 0 if known is not None else NXDOMAIN
        recursion = struct.unpack("!H", packet[2:4])[0] & 0x0100
        flags = 0x8480 | recursion | code
        return packet[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) \
            + question + answer
