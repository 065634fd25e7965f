-- The other organisation: partner.internal. Strict: TLS and a certificate that proves the domain.
local folder = os.getenv("PARTNER_DATA") or "/var/lib/prosody"
local address = os.getenv("PARTNER_ADDRESS") or "*"

pidfile = folder .. "/prosody.pid"
data_path = folder .. "/data"
certificates = folder .. "/certs"
interfaces = { address }
local_interfaces = { address == "*" and "127.0.0.1" or address }
log = { { levels = { min = "info" }, to = "console", timestamps = "%H:%M:%S" } }

modules_enabled = {
    "carbons", "dialback", "disco", "offline", "ping", "posix", "presence", "roster", "s2s_bidi",
    "saslauth", "smacks", "tls",
}
-- What a stream had not acknowledged when it was closed goes on another one; without this, Prosody
-- answers the senders with errors.
smacks_s2s_resend = true
authentication = "internal_hashed"
c2s_require_encryption = true
s2s_require_encryption = true
s2s_secure_auth = true

ssl = { cafile = folder .. "/certs/ca.pem", capath = false }

-- Its resolver is the lab's.
unbound = {
    resolvconf = false,
    hoststxt = false,
    forward = { os.getenv("PARTNER_RESOLVER") or "127.0.0.11" },
}

VirtualHost "partner.internal"
    ssl = {
        certificate = folder .. "/certs/partner.internal.crt",
        key = folder .. "/certs/partner.internal.key",
        cafile = folder .. "/certs/ca.pem",
    }
