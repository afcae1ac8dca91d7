"""One file per page. Each gives a router for what it is handed; none looks anything up globally."""
