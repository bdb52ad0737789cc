-- One schema and its owner (%[1]s), for the database's superuser. What %[2]s makes there, with a plain goose command for example,
-- is the owner's to use.
CREATE SCHEMA IF NOT EXISTS %[1]s AUTHORIZATION %[1]s;
GRANT %[1]s TO %[2]s;
ALTER DEFAULT PRIVILEGES FOR ROLE %[2]s IN SCHEMA %[1]s GRANT ALL ON TABLES TO %[1]s;
ALTER DEFAULT PRIVILEGES FOR ROLE %[2]s IN SCHEMA %[1]s GRANT ALL ON SEQUENCES TO %[1]s;
ALTER DEFAULT PRIVILEGES FOR ROLE %[2]s IN SCHEMA %[1]s GRANT ALL ON FUNCTIONS TO %[1]s;
ALTER ROLE %[1]s SET search_path = %[1]s;
