-- Which file declares what. A thing has one row, but for those that files share, whose
-- slot is the file.
create table declarations (
	account    {text} not null,
	region     {text} not null, -- '' for what belongs to the whole account
	kind       {text} not null,
	name       {text} not null,
	slot       {text} not null,
	source     {text} not null,
	module     {text} not null,
	line       bigint not null,
	spec       {text} not null, -- JSON object
	pending    bigint not null,
	adopted    bigint not null,
	changed_at bigint not null, -- microseconds
	primary key (account, region, kind, name, slot)
){norowid};

create index declarations_by_source on declarations (account, region, source, kind, name);
