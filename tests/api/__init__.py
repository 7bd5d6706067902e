"""The api: its decisions as tables, its databases, its routes over real HTTP, its scheduler."""
