"""A mapper by Google's gRPC: python mapper.py NODE_SOCKET OWN_SOCKET MODULES PROTO

It makes the modules of the proto file in MODULES, registers for the protocol "modbus", and drives
each device: what is desired of a property is what the property is at once. Each thing that happens
is one line on standard output. It ends with its standard input.
"""

import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
from grpc_tools import protoc

node_socket, own_socket, modules, proto = sys.argv[1:]
well_known = Path(protoc.__file__).parent / "_proto"
made = protoc.main(
    [
        "protoc",
        f"-I{Path(proto).parent}",
        f"-I{well_known}",
        f"--python_out={modules}",
        f"--grpc_python_out={modules}",
        proto,
    ]
)
if made != 0:
    sys.exit("the proto file cannot be compiled")
sys.path.insert(0, modules)

import dmi_pb2 as dmi  # noqa: E402
import dmi_pb2_grpc as services  # noqa: E402
from google.protobuf.wrappers_pb2 import Int64Value, StringValue  # noqa: E402


def say(*words):
    print(*words, flush=True)


def settings(config):
    """Settings as text; a kind that no mapper knows is an error."""
    told = {}
    for name, value in sorted(config.configData.data.items()):
        for kind in (Int64Value(), StringValue()):
            if value.Unpack(kind):
                told[name] = kind.value
                break
        else:
            raise ValueError(f"{name} is a {value.type_url}")
    return told


class Mapper(services.DeviceMapperServiceServicer):
    def __init__(self, node):
        self.node = node
        self.devices = {}

    def drive(self, device):
        self.devices[device.name] = device
        now = str(int(time.time() * 1000))
        twins = []
        for it in device.spec.properties:
            if it.desired.value:
                twins.append(
                    dmi.Twin(
                        propertyName=it.name,
                        observedDesired=it.desired,
                        reported=dmi.TwinProperty(
                            value=it.desired.value,
                            metadata={"timestamp": now, "type": "float"},
                        ),
                    )
                )
        name = dict(deviceName=device.name, deviceNamespace=device.namespace)
        self.node.ReportDeviceStatus(
            dmi.ReportDeviceStatusRequest(
                reportedDevice=dmi.DeviceStatus(twins=twins), **name
            ),
            timeout=30,
        )
        self.node.ReportDeviceStates(
            dmi.ReportDeviceStatesRequest(state="online", **name), timeout=30
        )
        wishes = [it.desired.value for it in device.spec.properties if it.desired.value]
        say("drives", device.name, *wishes)

    def RegisterDevice(self, request, context):
        say("registered", request.device.name)
        self.drive(request.device)
        return dmi.Name(name=request.device.name, namespace=request.device.namespace)

    def UpdateDevice(self, request, context):
        self.drive(request.device)
        return dmi.Nothing()

    def RemoveDevice(self, request, context):
        self.devices.pop(request.name, None)
        say("removed", request.name)
        return dmi.Nothing()

    def CreateDeviceModel(self, request, context):
        say("model", request.model.name, len(request.model.spec.properties))
        return dmi.Name(name=request.model.name, namespace=request.model.namespace)

    def UpdateDeviceModel(self, request, context):
        return dmi.Nothing()

    def RemoveDeviceModel(self, request, context):
        return dmi.Nothing()

    def GetDevice(self, request, context):
        if request.name not in self.devices:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such device")
        return dmi.DeviceMessage(device=self.devices[request.name])


channel = grpc.insecure_channel(f"unix://{node_socket}")
node = services.DeviceManagerServiceStub(channel)
mapper = Mapper(node)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
services.add_DeviceMapperServiceServicer_to_server(mapper, server)
server.add_insecure_port(f"unix://{own_socket}")
server.start()

info = dmi.MapperInfo(
    name="python",
    version="1",
    api_version="v1beta1",
    protocol="modbus",
    address=own_socket.encode(),
    state="ok",
)
answer = node.MapperRegister(
    dmi.MapperRegisterRequest(withData=True, mapper=info), timeout=30, wait_for_ready=True
)
say("knows", len(answer.modelList), "models and", len(answer.deviceList), "devices")
for device in answer.deviceList:
    say("settings", device.name, settings(device.spec.protocol))
    mapper.drive(device)

try:
    wrong = dmi.Twin(propertyName="target", reported=dmi.TwinProperty(value="warm"))
    node.ReportDeviceStatus(
        dmi.ReportDeviceStatusRequest(
            deviceName="hall",
            deviceNamespace="default",
            reportedDevice=dmi.DeviceStatus(twins=[wrong]),
        ),
        timeout=30,
    )
except grpc.RpcError as error:
    say("refused", error.code().name, error.details())

sys.stdin.read()
