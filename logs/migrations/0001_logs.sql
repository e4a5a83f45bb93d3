create table log_groups (
	account    {text} not null,
	region     {text} not null,
	name       {text} not null,
	id         bigint not null,
	retention  bigint not null, -- days, 0 for ever
	tags       {text} not null, -- JSON object
	class      {text} not null,
	created_at bigint not null,
	bytes      bigint not null,
	primary key (account, region, name)
){norowid};

create table log_streams (
	account     {text} not null,
	region      {text} not null,
	group_id    bigint not null,
	name        {text} not null,
	created_at  bigint not null,
	first_at    bigint not null, -- milliseconds, of the events
	last_at     bigint not null,
	ingested_at bigint not null,
	primary key (account, region, group_id, name)
){norowid};

create index log_streams_by_time on log_streams (account, region, group_id, last_at);

create table log_events (
	account     {text} not null,
	region      {text} not null,
	group_id    bigint not null,
	at          bigint not null, -- milliseconds
	seq         bigint not null,
	stream      {text} not null,
	ingested_at bigint not null,
	message     {text} not null,
	primary key (account, region, group_id, at, seq)
){norowid};

create index log_events_by_stream on log_events (account, region, group_id, stream, at, seq);

-- Groups that were deleted and whose events are still to be removed.
create table log_garbage (
	account  {text} not null,
	region   {text} not null,
	group_id bigint not null,
	primary key (account, region, group_id)
){norowid};
