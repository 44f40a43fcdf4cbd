"""placeholder"""
def run(binary, report):
    pass
