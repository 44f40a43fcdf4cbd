def check(table, report):
    pass
