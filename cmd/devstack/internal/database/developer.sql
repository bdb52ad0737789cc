-- Names without a schema mean the first of the three that has them: `select * from clusters` shows the documents, not the
-- reconciler's projection of them.
REVOKE ALL ON DATABASE syncsets FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE syncsets TO clusters, syncsets, reconciler, developer;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER ROLE developer SET search_path = clusters, syncsets, reconciler;
