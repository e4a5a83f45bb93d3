-- Sessions of browsers, and links that open one. The cookie or code itself is not kept,
-- only its hash. A session lasts no longer than the access key that it stands on.
create table console_sessions (
	account       {text} not null,
	hash          {bytes} not null,
	kind          {text} not null, -- session or link
	access_key_id {text} not null,
	name          {text} not null, -- what the session is called in the console
	started_at    bigint not null,
	used_at       bigint not null,
	expires_at    bigint not null,
	primary key (hash)
);

create index console_sessions_by_end on console_sessions (expires_at);
