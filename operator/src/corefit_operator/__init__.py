"""The Corefit operator: reconciles InferenceService resources.

Each package imports those below it only (`lint-imports`); its docstring says what belongs there and what may not:

    main         the program's command line
    process      composition root, workers, HTTP port
    reconcile    the stages of one reconcile, and what is remembered between two
    status       what people read: status, conditions, texts of Events, gauges
    workload     what has the pods and is scaled: a Deployment of its own, or a workload of others
    children     the objects that the operator makes       resize     CPU of running pods
    collect      the pods' reports                         telemetry  Prometheus and Events
    diagnosis    what is wrong, and what to do about it
    cache        what is known of the cluster
    kube         the API server
    concurrency  tasks, queues, turns
"""
