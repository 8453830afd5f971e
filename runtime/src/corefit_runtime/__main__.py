from corefit_runtime.main import main

main()
