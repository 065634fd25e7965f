-- prosodyctl mod_load_accounts DOMAIN PREFIX COUNT PASSWORD
-- Many accounts in one process: 'prosodyctl register' starts Lua anew for each.
function module.command(arg)
	local domain, prefix, count, password = arg[1], arg[2], tonumber(arg[3]), arg[4];
	if not password then
		print("usage: prosodyctl mod_load_accounts DOMAIN PREFIX COUNT PASSWORD");
		return 1;
	end
	local host = assert(prosody.hosts[domain], "no such host: " .. domain);
	local usermanager = require "core.usermanager";
	if host.users.name == "null" then
		usermanager.initialize_host(domain);
	end
	for i = 1, count do
		local ok, err = usermanager.create_user(prefix .. i, password, domain);
		if not ok then
			print("cannot create " .. prefix .. i .. ": " .. tostring(err));
			return 1;
		end
	end
	print(count .. " accounts on " .. domain);
	return 0;
end
