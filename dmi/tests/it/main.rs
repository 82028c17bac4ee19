//! Both services over real Unix sockets.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that goes wrong"
)]

mod door;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_dmi::messages::{
    Device, DeviceMessage, DeviceStatus, MapperInfo, MapperRegisterRequest, MapperRegisterResponse,
    ModelMessage, NameMessage, ReportDeviceStatesRequest, ReportDeviceStatusRequest, Twin,
    TwinProperty,
};
use causeway_dmi::{
    Code, DeviceManager, DeviceMapper, Door, MESSAGE_BYTES_MAX, ManagerClient, MapperClient,
    Status, serve_manager, serve_mapper,
};
use tokio::sync::{mpsc, oneshot};

/// Long enough that only a call that never ends meets it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Tells of each call in one line.
struct Told(mpsc::Sender<String>);

impl Told {
    async fn tell(&self, line: String) {
        self.0.send(line).await.unwrap();
    }
}

impl DeviceManager for Told {
    async fn mapper_register(
        &self,
        request: MapperRegisterRequest,
    ) -> Result<MapperRegisterResponse, Status> {
        let mapper = request
            .mapper
            .ok_or_else(|| Status::invalid_argument("who?"))?;
        self.tell(format!("register {}", mapper.name)).await;
        let device = Device {
            name: "t".into(),
            ..Device::default()
        };
        Ok(MapperRegisterResponse {
            model_list: Vec::new(),
            device_list: vec![device],
        })
    }

    async fn report_device_status(&self, it: ReportDeviceStatusRequest) -> Result<(), Status> {
        let twins = it.reported_device.unwrap_or_default().twins;
        self.tell(format!("report {} {}", it.device_name, twins.len()))
            .await;
        Ok(())
    }

    async fn report_device_states(&self, it: ReportDeviceStatesRequest) -> Result<(), Status> {
        self.tell(format!("state {} {}", it.device_name, it.state))
            .await;
        Ok(())
    }
}

impl DeviceMapper for Told {
    async fn register_device(&self, it: DeviceMessage) -> Result<NameMessage, Status> {
        let device = it.device.unwrap_or_default();
        self.tell(format!("add {}", device.name)).await;
        Ok(NameMessage {
            name: device.name,
            namespace: device.namespace,
        })
    }

    async fn remove_device(&self, it: NameMessage) -> Result<(), Status> {
        self.tell(format!("remove {}", it.name)).await;
        Ok(())
    }

    async fn update_device(&self, it: DeviceMessage) -> Result<(), Status> {
        self.tell(format!("update {}", it.device.unwrap_or_default().name))
            .await;
        Ok(())
    }

    async fn create_device_model(&self, it: ModelMessage) -> Result<NameMessage, Status> {
        let model = it.model.unwrap_or_default();
        self.tell(format!("add model {}", model.name)).await;
        Ok(NameMessage {
            name: model.name,
            namespace: model.namespace,
        })
    }

    async fn remove_device_model(&self, it: NameMessage) -> Result<(), Status> {
        self.tell(format!("remove model {}", it.name)).await;
        Ok(())
    }

    async fn update_device_model(&self, it: ModelMessage) -> Result<(), Status> {
        self.tell(format!(
            "update model {}",
            it.model.unwrap_or_default().name
        ))
        .await;
        Ok(())
    }

    async fn get_device(&self, it: NameMessage) -> Result<DeviceMessage, Status> {
        Err(Status::not_found(it.name))
    }
}

/// Serves both sides in one directory while `test` runs, and says which calls came.
async fn served<T: Future<Output = ()>>(
    test: impl FnOnce(ManagerClient, MapperClient) -> T,
) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let socket = |name: &str| dir.path().join(name);
    let (tell, mut told) = mpsc::channel(64);
    let service = Arc::new(Told(tell));
    let (stop_manager, stopped) = oneshot::channel::<()>();
    let manager = serve_manager(
        Door::open(&socket("dmi.sock")).unwrap(),
        Arc::clone(&service),
        async move { stopped.await.unwrap_or_default() },
    );
    let (stop_mapper, stopped) = oneshot::channel::<()>();
    let mapper = serve_mapper(
        Door::open(&socket("mapper.sock")).unwrap(),
        service,
        async move { stopped.await.unwrap_or_default() },
    );
    let calls = async {
        let manager = ManagerClient::new(&socket("dmi.sock"), TIMEOUT).unwrap();
        let mapper = MapperClient::new(&socket("mapper.sock"), TIMEOUT).unwrap();
        test(manager, mapper).await;
        drop((stop_manager, stop_mapper));
    };
    let (served_manager, served_mapper, ()) = tokio::join!(manager, mapper, calls);
    served_manager.unwrap();
    served_mapper.unwrap();
    let mut lines = Vec::new();
    while let Ok(line) = told.try_recv() {
        lines.push(line);
    }
    lines
}

fn name() -> NameMessage {
    NameMessage {
        name: "t".into(),
        namespace: "n".into(),
    }
}

fn device() -> DeviceMessage {
    DeviceMessage {
        device: Some(Device {
            name: "t".into(),
            namespace: "n".into(),
            ..Device::default()
        }),
    }
}

#[tokio::test]
async fn a_mapper_registers_and_reports() {
    let told = served(|manager, _| async move {
        let request = MapperRegisterRequest {
            with_data: true,
            mapper: Some(MapperInfo {
                name: "virtual".into(),
                ..MapperInfo::default()
            }),
        };
        let registered = manager.mapper_register(request).await.unwrap();
        assert_eq!(registered.device_list[0].name, "t");
        let report = ReportDeviceStatusRequest {
            device_name: "t".into(),
            device_namespace: "n".into(),
            reported_device: Some(DeviceStatus {
                twins: vec![Twin::default(); 3],
                ..DeviceStatus::default()
            }),
        };
        manager.report_device_status(report).await.unwrap();
        let state = ReportDeviceStatesRequest {
            device_name: "t".into(),
            device_namespace: "n".into(),
            state: "ok".into(),
        };
        manager.report_device_states(state).await.unwrap();
    });
    assert_eq!(told.await, ["register virtual", "report t 3", "state t ok"]);
}

#[tokio::test]
async fn a_node_tells_a_mapper_of_devices_and_models() {
    let told = served(|_, mapper| async move {
        assert_eq!(mapper.register_device(device()).await.unwrap(), name());
        mapper.update_device(device()).await.unwrap();
        mapper.remove_device(name()).await.unwrap();
        mapper
            .create_device_model(ModelMessage::default())
            .await
            .unwrap();
        mapper
            .update_device_model(ModelMessage::default())
            .await
            .unwrap();
        mapper.remove_device_model(name()).await.unwrap();
        let refused = mapper.get_device(name()).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::NotFound, "t"));
    });
    let calls = [
        "add t",
        "update t",
        "remove t",
        "add model ",
        "update model ",
        "remove model t",
    ];
    assert_eq!(told.await, calls);
}

#[tokio::test]
async fn what_is_refused_comes_back_with_its_code() {
    let told = served(|manager, _| async move {
        let request = MapperRegisterRequest::default();
        let refused = manager.mapper_register(request).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::InvalidArgument, "who?")
        );
    });
    assert!(told.await.is_empty());
}

#[tokio::test]
async fn a_message_beyond_the_bound_is_refused_and_the_next_call_works() {
    let told = served(|manager, _| async move {
        let report = |value: usize| ReportDeviceStatusRequest {
            reported_device: Some(DeviceStatus {
                twins: vec![Twin {
                    reported: Some(TwinProperty {
                        value: "x".repeat(value),
                        ..TwinProperty::default()
                    }),
                    ..Twin::default()
                }],
                ..DeviceStatus::default()
            }),
            ..ReportDeviceStatusRequest::default()
        };
        let long = report(MESSAGE_BYTES_MAX + 1);
        let refused = manager.report_device_status(long).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange);
        manager.report_device_status(report(1)).await.unwrap();
    });
    assert_eq!(told.await, ["report  1"]);
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let nowhere = ManagerClient::new(Path::new("nowhere.sock"), TIMEOUT).unwrap();
    let refused = nowhere
        .mapper_register(MapperRegisterRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_call_that_the_service_does_not_have_is_told_so() {
    // A mapper's call at a mapper's door.
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("mapper.sock");
    let (tell, _told) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let service = serve_mapper(
        Door::open(&socket).unwrap(),
        Arc::new(Told(tell)),
        async move { stopped.await.unwrap_or_default() },
    );
    let calls = async {
        let manager = ManagerClient::new(&socket, TIMEOUT).unwrap();
        let refused = manager
            .mapper_register(MapperRegisterRequest::default())
            .await;
        assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
        drop((stop, manager));
    };
    let (served, ()) = tokio::join!(service, calls);
    served.unwrap();
}
