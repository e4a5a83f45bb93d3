-- How many calls of each name there were in an hour: of those that stand in segments.
create table trail_activity (
	account {text} not null,
	region  {text} not null,
	hour    bigint not null, -- its begin, in microseconds
	name    {text} not null, -- of the operation
	outcome {text} not null, -- ok, denied or failed
	calls   bigint not null,
	primary key (account, region, hour, name, outcome)
){norowid};

create index trail_activity_by_hour on trail_activity (hour);

-- Whether the call only read, so that what changes can be told without opening bodies.
alter table trail_recent add column reads bigint not null default 0;
