"""Two slixmpp clients talk through a server; exits 0 when everything came as it must.

usage: conversation.py HOST PORT CA_FILE JID1 JID2 PASSWORD
"""

import asyncio
import sys

from slixmpp import ClientXMPP

PATIENCE = 20


class Client(ClientXMPP):
    def __init__(self, jid, password, ca_file):
        super().__init__(jid, password)
        self.ca_certs = ca_file
        for plugin in ("xep_0030", "xep_0092", "xep_0191", "xep_0198", "xep_0199", "xep_0202", "xep_0280"):
            self.register_plugin(plugin)
        self.auto_authorize = True
        self.auto_subscribe = True
        self.messages = asyncio.Queue()
        self.copies = asyncio.Queue()
        self.started = asyncio.get_event_loop().create_future()
        self.add_event_handler("session_start", self._start)
        self.add_event_handler("failed_all_auth", lambda _: self._fail("no mechanism worked"))
        self.add_event_handler("ssl_invalid_chain", lambda error: self._fail(f"certificate: {error}"))
        self.add_event_handler("message", self.messages.put_nowait)
        self.add_event_handler("carbon_sent", self.copies.put_nowait)

    async def _start(self, _):
        await self.get_roster()
        self.send_presence()
        if not self.started.done():
            self.started.set_result(True)

    def _fail(self, why):
        if not self.started.done():
            self.started.set_exception(RuntimeError(why))


def later(client, name, wanted):
    """Waits, from now on, for an event whose stanza `wanted` accepts."""
    future = asyncio.get_event_loop().create_future()

    def heard(stanza):
        if wanted(stanza) and not future.done():
            future.set_result(stanza)

    client.add_event_handler(name, heard)
    return asyncio.wait_for(future, PATIENCE)


async def log_in(arguments, jid):
    host, port, ca_file, _, _, password = arguments
    client = Client(jid, password, ca_file)
    client.connect(host, int(port))
    await asyncio.wait_for(client.started, PATIENCE)
    print(jid, "logged in with", client["feature_mechanisms"].mech.name)
    return client


async def run(arguments):
    one = await log_in(arguments, arguments[3] + "/one")
    other = await log_in(arguments, arguments[3] + "/other")
    two = await log_in(arguments, arguments[4] + "/two")
    domain = two.boundjid.domain

    seen = [later(one, "got_online", lambda s: s["from"].bare == two.boundjid.bare),
            later(two, "got_online", lambda s: s["from"].bare == one.boundjid.bare)]
    one.send_presence_subscription(pto=two.boundjid.bare)
    await asyncio.gather(*seen)
    print("subscribed both ways")

    await other["xep_0280"].enable()
    one.send_message(mto=two.boundjid.full, mbody="Grüße & <Küsse>", mtype="chat")
    got = await asyncio.wait_for(two.messages.get(), PATIENCE)
    assert got["body"] == "Grüße & <Küsse>", got
    assert got["from"] == one.boundjid, got
    copy = await asyncio.wait_for(other.copies.get(), PATIENCE)
    assert copy["carbon_sent"]["body"] == "Grüße & <Küsse>", copy
    print("message and carbon")

    away = later(one, "changed_status", lambda s: s["from"] == two.boundjid and s["show"] == "away")
    two.send_presence(pshow="away", pstatus="out")
    assert (await away)["status"] == "out"
    print("presence")

    info = await one["xep_0030"].get_info(jid=domain)
    assert "urn:xmpp:carbons:2" in info["disco_info"]["features"], info
    version = await one["xep_0092"].get_version(domain)
    assert version["software_version"]["name"] == "Entente", version
    await one["xep_0199"].ping(domain)
    await one["xep_0202"].get_entity_time(domain)
    print("disco, version, ping, time")

    gone = later(two, "got_offline", lambda s: s["from"].bare == one.boundjid.bare)
    await one["xep_0191"].block([two.boundjid.bare])
    await gone
    await one["xep_0191"].unblock([two.boundjid.bare])
    print("blocked and unblocked")

    # The connection breaks; slixmpp resumes the stream, and nothing is lost.
    resumed = later(two, "session_resumed", lambda _: True)
    two.transport.abort()
    one.send_message(mto=two.boundjid.full, mbody="while you were away", mtype="chat")
    two.connect(arguments[0], int(arguments[1]))
    await resumed
    got = await asyncio.wait_for(two.messages.get(), PATIENCE)
    assert got["body"] == "while you were away", got
    print("resumed")

    await asyncio.gather(*(client.disconnect() for client in (one, other, two)))


asyncio.run(asyncio.wait_for(run(sys.argv[1:]), 90))
