"""The steps between formats, run by alembic."""
