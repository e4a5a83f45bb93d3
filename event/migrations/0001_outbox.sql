-- Events that nobody has looked at yet. It holds all accounts: it is a queue.
create table event_outbox (
	seq         bigint not null, -- orders the events of a key
	id          {text} not null,
	account     {text} not null,
	region      {text} not null,
	bus         {text} not null,
	source      {text} not null,
	detail_type {text} not null,
	at          bigint not null,
	resources   {text} not null, -- JSON list
	detail      {text} not null, -- JSON object, '' when ref is set
	ref         {text} not null, -- id of the record of a call
	order_key   {text} not null,
	read_only   bigint not null,
	replay      {text} not null,
	hops        bigint not null,
	primary key (seq, id)
){norowid};

create index event_outbox_by_id on event_outbox (id);
