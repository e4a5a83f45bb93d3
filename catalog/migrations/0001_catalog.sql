-- A row per account that has a catalog; its version counts the changes of the model.
create table catalog_models (
    account {text} not null primary key,
    version bigint not null
);

create table catalog_blueprints (
    account    {text} not null,
    id         {text} not null,
    doc        {text} not null,   -- JSON, as given and completed
    shipped    bigint not null,   -- Berth's own, which nobody has touched
    created_at bigint not null,
    created_by {text} not null,
    updated_at bigint not null,
    updated_by {text} not null,
    primary key (account, id)
);

-- k is the identifier, or for a long one its beginning and hash: what keys are made of.
create table catalog_entities (
    account    {text} not null,
    blueprint  {text} not null,
    k          {text} not null,
    id         {text} not null,
    title      {text} not null,
    icon       {text} not null,
    team       {text} not null,   -- JSON list
    properties {text} not null,   -- JSON
    source     bigint not null,   -- catalog_sources; 0 for none
    owner      bigint not null,   -- of which it is a part and goes with; 0 for none
    shared     bigint not null,   -- more than one resource may have made it
    created_at bigint not null,
    created_by {text} not null,
    updated_at bigint not null,
    updated_by {text} not null,
    primary key (account, blueprint, k)
);
-- The registry's own entities have negative sources, and are found by their origins.
create index catalog_entities_source on catalog_entities (account, source, blueprint, k) where source > 0;

-- What an entity's relations name, in order. Rank 1 is another spelling, which counts
-- while there is no entity of the first. Those that are kept stay when their target goes.
create table catalog_relations (
    account          {text} not null,
    blueprint        {text} not null,
    k                {text} not null,
    relation         {text} not null,
    ord              bigint not null,
    rank             bigint not null,
    target_blueprint {text} not null,
    target           {text} not null,
    kept             bigint not null,
    primary key (account, blueprint, k, relation, ord, rank)
){norowid};
create index catalog_relations_target on catalog_relations (account, target_blueprint, target, blueprint, relation, k);

-- The values by which entities are found.
create table catalog_values (
    account   {text} not null,
    blueprint {text} not null,
    property  {text} not null,
    value     {text} not null,
    k         {text} not null,
    primary key (account, blueprint, property, value, k)
){norowid};

create table catalog_sources (
    account {text} not null,
    id      bigint not null,
    name    {text} not null,
    primary key (account, id)
);

-- Entities whose owner is here are gone, and are cleared away later: those made of the
-- resources whose names begin with prefix.
create table catalog_gone (
    account {text} not null,
    owner   bigint not null,
    region  {text} not null,
    kind    {text} not null,
    prefix  {text} not null,
    gone_at bigint not null,
    primary key (account, owner)
);

-- Which resource made which entity. By the entity it is read only where that is shared,
-- and then as a whole: an index would make every push touch one more page.
create table catalog_origins (
    account   {text} not null,
    region    {text} not null,
    kind      {text} not null,
    resource  {text} not null,
    blueprint {text} not null,
    k         {text} not null,
    primary key (account, region, kind, resource, blueprint, k)
){norowid};

-- What went wrong with a resource. wait_blueprint and wait_k name an entity whose
-- appearing may mend it.
create table catalog_notices (
    account        {text} not null,
    region         {text} not null,
    kind           {text} not null,
    resource       {text} not null,
    n              bigint not null,
    blueprint      {text} not null,
    entity         {text} not null,
    code           {text} not null,
    path           {text} not null,
    message        {text} not null,
    wait_blueprint {text} not null,
    wait_k         {text} not null,
    at             bigint not null,
    primary key (account, region, kind, resource, n)
){norowid};
create index catalog_notices_wait on catalog_notices (account, wait_blueprint, wait_k);

-- Resources that are yet to be mapped.
create table catalog_pending (
    account  {text} not null,
    region   {text} not null,
    kind     {text} not null,
    resource {text} not null,
    due      bigint not null,
    tries    bigint not null,
    reason   {text} not null,
    primary key (account, region, kind, resource)
);
create index catalog_pending_due on catalog_pending (due);

create table catalog_scorecards (
    account    {text} not null,
    blueprint  {text} not null,
    id         {text} not null,
    doc        {text} not null,
    created_at bigint not null,
    created_by {text} not null,
    updated_at bigint not null,
    updated_by {text} not null,
    primary key (account, blueprint, id)
);

create table catalog_integrations (
    account    {text} not null,
    id         {text} not null,
    doc        {text} not null,
    created_at bigint not null,
    updated_at bigint not null,
    primary key (account, id)
);

-- What changed, by whom; id begins with the time.
create table catalog_audit (
    account   {text} not null,
    id        {text} not null,
    action    {text} not null,
    resource  {text} not null,   -- entity, blueprint, scorecard, integration
    status    {text} not null,
    blueprint {text} not null,
    entity    {text} not null,   -- key
    doc       {text} not null,   -- JSON: the rest
    primary key (account, id)
);
create index catalog_audit_entity on catalog_audit (account, blueprint, entity, id);

-- Work over a whole account that one node does: syncing.
create table catalog_syncs (
    account     {text} not null primary key,
    lease_until bigint not null,
    fence       bigint not null,
    asked_at    bigint not null,  -- 0: nobody asks
    started_at  bigint not null,
    ended_at    bigint not null,
    mapped_by   {text} not null,  -- what the last whole sync mapped by
    report      {text} not null   -- JSON
);
