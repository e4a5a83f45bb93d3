-- Records of the last moments, a row each.
create table trail_recent (
	account {text} not null,
	region  {text} not null,
	at      bigint not null,
	id      {text} not null,
	body    {text} not null, -- JSON
	primary key (account, region, at, id)
);

-- Older records, and those that came many at once, compressed.
create table trail_segments (
	account  {text} not null,
	region   {text} not null,
	last_at  bigint not null,
	id       {text} not null, -- of the last record
	first_at bigint not null,
	records  bigint not null,
	body     {bytes} not null,
	primary key (account, region, last_at, id)
){norowid};

create index trail_segments_by_end on trail_segments (last_at);

-- Which segments have a record with an attribute's value.
create table trail_attributes (
	account    {text} not null,
	region     {text} not null,
	attribute  {text} not null, -- letter and value
	last_at    bigint not null,
	segment_id {text} not null,
	primary key (account, region, attribute, last_at, segment_id)
){norowid};

create index trail_attributes_by_segment on trail_attributes (account, region, last_at, segment_id);
