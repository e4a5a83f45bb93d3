create table event_buses (
	account     {text} not null,
	region      {text} not null,
	name        {text} not null,
	description {text} not null,
	policy      {text} not null,
	tags        {text} not null, -- JSON object
	created_at  bigint not null,
	updated_at  bigint not null,
	primary key (account, region, name)
){norowid};

create table event_rules (
	account     {text} not null,
	region      {text} not null,
	bus         {text} not null,
	name        {text} not null,
	pattern     {text} not null,
	schedule    {text} not null,
	state       {text} not null,
	description {text} not null,
	role        {text} not null,
	tags        {text} not null, -- JSON object
	created_at  bigint not null,
	next_at     bigint not null, -- of a schedule, 0 for none
	primary key (account, region, bus, name)
){norowid};

create index event_rules_by_time on event_rules (next_at);

create table event_targets (
	account {text} not null,
	region  {text} not null,
	bus     {text} not null,
	rule    {text} not null,
	id      {text} not null,
	arn     {text} not null,
	body    {text} not null, -- JSON
	primary key (account, region, bus, rule, id)
){norowid};

create index event_targets_by_arn on event_targets (account, region, bus, arn, rule);

-- Events that are being delivered, and those that were, for a while.
create table bus_events (
	id      {text} not null,
	account {text} not null,
	region  {text} not null,
	at      bigint not null,
	body    {text} not null, -- the envelope
	ref     {text} not null, -- the record that it tells of
	hops    bigint not null,
	primary key (id)
){norowid};

create index bus_events_by_time on bus_events (at);

-- What is to be delivered to whom. It is a queue over all accounts.
create table deliveries (
	id         {text} not null,
	seq        bigint not null,
	account    {text} not null,
	region     {text} not null,
	event_id   {text} not null,
	bus        {text} not null,
	rule       {text} not null,
	target_id  {text} not null,
	target     {text} not null, -- JSON: the target as it was when the event came
	receiver   {text} not null, -- ARN
	held       bigint not null, -- a push waits for the first attempt
	lane       bigint not null, -- first attempts of a lane, but for those that were turned away, are in order; 0 for none
	state      bigint not null,
	attempts   bigint not null,
	turned     bigint not null, -- attempts that found the receiver too busy
	next_at    bigint not null, -- pending: not before; running: lease until
	fence      bigint not null,
	created_at bigint not null,
	ended_at   bigint not null,
	run        {text} not null, -- what the receiver calls the last attempt
	error      {text} not null,
	primary key (id)
){norowid};

create index deliveries_due on deliveries (state, next_at, seq);

create index deliveries_lanes on deliveries (lane, state, seq);

create index deliveries_by_event on deliveries (event_id);

create index deliveries_by_end on deliveries (state, ended_at);

-- Pushes that wait for somebody to make their repository: one event for all of them.
create table push_holds (
	account    {text} not null,
	region     {text} not null,
	repository {text} not null,
	event_id   {text} not null,
	until      bigint not null,
	primary key (account, region, repository)
){norowid};
