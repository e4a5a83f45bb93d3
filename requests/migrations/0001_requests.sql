create table control_requests (
    account {text} not null,
    region  {text} not null,
    token   {text} not null,
    client  {text} not null,   -- the caller's own token, or the same as token
    doc     {text} not null,   -- JSON
    at      bigint not null,
    primary key (account, region, token)
);
create unique index control_requests_client on control_requests (account, region, client);
create index control_requests_at on control_requests (at);
