"""Everything that a person looks at: figures, tables, the report, the plan."""
