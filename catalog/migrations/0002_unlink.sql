-- With kept in it the index also finds what has to go with an entity: without, SQLite read
-- all relations of the account for that.
drop index catalog_relations_target;
create index catalog_relations_target on catalog_relations (account, target_blueprint, target, kept, blueprint, relation, k);
