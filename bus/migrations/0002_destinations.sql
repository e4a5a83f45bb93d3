-- Connections, API destinations, archives and replays.
create table event_resources (
	account    {text} not null,
	region     {text} not null,
	kind       {text} not null,
	name       {text} not null,
	id         {text} not null, -- of its ARN
	body       {text} not null, -- JSON
	sealed     {bytes} not null, -- secrets of a connection
	state      {text} not null,
	created_at bigint not null,
	updated_at bigint not null,
	version    bigint not null,
	primary key (account, region, kind, name)
){norowid};

create index event_resources_by_state on event_resources (kind, state);

create table archived_events (
	account     {text} not null,
	region      {text} not null,
	archive     {text} not null,
	at          bigint not null,
	id          {text} not null,
	source      {text} not null,
	detail_type {text} not null,
	order_key   {text} not null,
	read_only   bigint not null,
	body        {text} not null, -- the envelope
	primary key (account, region, archive, at, id)
){norowid};
